"""Every reader of foreign files: sound files for it, and how it is called (`tests.fuzz`)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from morefromless import cli, files, nuclei_formats
from morefromless.cluster import queued_jobs
from morefromless.config import RunConfig, from_flat, to_flat
from morefromless.data.schemes import scheme_of
from morefromless.data.store import Store
from morefromless.encoders._weights import read_weights
from morefromless.errors import UnreadablePatch
from morefromless.evaluation.cache import cached
from morefromless.evaluation.metadata import describe, read_metadata
from morefromless.ingest import ingest, open_source
from morefromless.nuclei_formats import NucleiFormat
from morefromless.report.report import write_report
from morefromless.runs import ENCODER_KEY, Run
from morefromless.specs import members
from tests.nuclei_formats.test_round_trips import SIDE, WRITERS
from tests.report.handmade import reproduction
from tests.sources import test_conic, test_consep, test_manifest, test_pannuke, test_spatial


@dataclass(frozen=True)
class Reader:
    """One way for files to come in."""

    write: Callable[[Path], list[Path]]
    """Sound files in a folder of its own; those that are to be mutated."""
    read: Callable[[Path, Path], object]
    """Called with the folder and the mutated file."""


def below(folder: Path, *patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.rglob(pattern) if path.is_file())


def source(spec: str) -> Callable[[Path, Path], None]:
    """A reader of all patches of a source; `{}` in the specification is the folder."""

    def read(folder: Path, _: Path) -> None:
        opened = open_source(spec.format(folder), cut=None)
        opened.datasheet()
        for item in opened.items()[:4]:
            opened.read(item)

    return read


def nuclei(folder: Path) -> list[Path]:
    for write in WRITERS:
        (folder / write.__name__).mkdir(parents=True)
        write(folder / write.__name__)
    return below(folder, "*")


def read_nuclei(folder: Path, path: Path) -> None:
    """By each format that takes such a file, with those that lie beside it."""
    whole = folder / path.relative_to(folder).parts[0]
    refusal: UnreadablePatch | None = None
    for target in below(whole, "*"):
        for kind in members(nuclei_formats, NucleiFormat).values():
            if target.name.lower().endswith(kind.suffixes):
                try:
                    kind.recognises(target)
                    kind().read(target, (SIDE, SIDE))
                except UnreadablePatch as error:
                    refusal = error
    if refusal:
        raise refusal


def images(folder: Path) -> list[Path]:
    for number, kind in enumerate(("png", "jpg", "tif", "png")):
        path = folder / "AB"[number % 2] / f"{number}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(test_manifest.he(number)).save(path)
    return below(folder, "*")


def npz(folder: Path) -> list[Path]:
    folder.mkdir()
    arrays = {"test_images": np.zeros((4, 28, 28, 3), np.uint8), "test_labels": np.arange(4)}
    for save in (np.savez, np.savez_compressed):
        save(folder / f"{save.__name__}.npz", **arrays)  # type: ignore[arg-type]
    return below(folder, "*")


def read_npz(_: Path, path: Path) -> None:
    source(str(path))(path, path)


def manifest(folder: Path) -> list[Path]:
    table = test_manifest.pairs(folder)
    table.to_csv(folder / "pairs.csv", index=False)
    table.to_parquet(folder / "pairs.parquet")
    return below(folder, "pairs.*")


def sections(folder: Path) -> list[Path]:
    folder.mkdir()
    for seed, name in enumerate("AB"):
        test_spatial.section(folder, name, seed)
    return below(folder, "*.h5ad", "*.png")


def pannuke(folder: Path) -> list[Path]:
    test_pannuke.published(folder, folds=2)
    return below(folder, "*.npy")


def conic(folder: Path) -> list[Path]:
    folder.mkdir()
    test_conic.conic(folder)
    return below(folder, "*")


def consep(folder: Path) -> list[Path]:
    for split in ("Train", "Test"):
        test_consep.tile(folder, f"{split}/{split.lower()}_1")
    return below(folder, "*")


def scheme(folder: Path) -> list[Path]:
    folder.mkdir()
    content = {"name": "own", "types": ["none", "a", "b"], "aliases": {"1": "a", "x": "b"}}
    (folder / "scheme.yaml").write_text(yaml.safe_dump(content))
    return below(folder, "*")


def options(folder: Path) -> list[Path]:
    folder.mkdir()
    config = to_flat(RunConfig(store=Path("store"), out=Path("run")))
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return below(folder, "*")


def store(folder: Path) -> list[Path]:
    ingest(open_source("synthetic:patches=180,patients=12,size=16"), folder, progress=False)
    return below(folder, "*")


def read_store(folder: Path, _: Path) -> None:
    opened = Store.open(folder)
    opened.verify()
    _ = opened.nuclei


def run(folder: Path) -> list[Path]:
    begun = Run.begin(from_flat(RunConfig, {"store": "store", "out": folder}), "0" * 32)
    begun.finish({"weight": torch.ones(3)}, {"seconds": 1.0}, {})
    begun.fail("What went wrong.")
    submitted = {"job": "7", "kind": "local", "when": "2026-01-01", "host": "h"}
    files.write_json(folder / "submitted.json", submitted)
    return below(folder, "*.json", "*.yaml", "*.safetensors")


def read_run(folder: Path, _: Path) -> None:
    opened = Run(folder)
    _ = opened.state, opened.failure, queued_jobs([opened])
    opened = Run.open(folder)
    _ = opened.config, opened.weights()


def read_report(folder: Path, _: Path) -> None:
    write_report(folder)


def report(folder: Path) -> list[Path]:
    reproduction(folder)
    return below(folder, "*.json", "*.csv")


def weights(folder: Path) -> list[Path]:
    folder.mkdir()
    tensors = {"encoder.network.weight": torch.ones(3, 2), "mean": torch.ones(3)}
    save_file(tensors, folder / "a.safetensors", metadata={"mean": "[1]", "std": "[1]"})
    torch.save({"state_dict": tensors}, folder / "a.pt")
    (folder / "config.json").write_text('{"pretrained_cfg": {"mean": [1, 1, 1], "std": [1, 1, 1]}}')
    return below(folder, "*")


def read_encoder(folder: Path, path: Path) -> None:
    for file in [path] if path.suffix != ".json" else below(folder, "a.*"):
        read_weights(file, "test_resnet")


def exported(folder: Path) -> list[Path]:
    folder.mkdir()
    metadata = describe(RunConfig(store=Path("store"), out=Path("run")), {})
    text = msgspec.json.encode(metadata).decode()
    save_file({"a": torch.ones(3)}, folder / "a.safetensors", {ENCODER_KEY: text})
    return below(folder, "*")


def read_exported(_: Path, path: Path) -> None:
    metadata = read_metadata(path)
    if metadata:
        metadata.refuse_outside(str(path))


def tensors(folder: Path) -> list[Path]:
    read_tensors(folder, folder)
    return below(folder, "*")


def read_tensors(folder: Path, _: Path) -> None:
    cached(folder / "features.safetensors", {"of": "this"}, lambda: {"y": torch.ones(3)})


READERS = {
    "nuclei": Reader(nuclei, read_nuclei),
    "images": Reader(images, source("{}")),
    "npz": Reader(npz, read_npz),
    "table .csv": Reader(manifest, source("{}/pairs.csv")),
    "table .parquet": Reader(manifest, source("{}/pairs.parquet")),
    "spatial .h5ad": Reader(sections, source("spatial:{},test=B,patch=16,genes=5")),
    "pannuke .npy": Reader(pannuke, source("pannuke:{}")),
    "conic .npy, .csv": Reader(conic, source("conic:{}")),
    "consep .mat": Reader(consep, source("consep:{}")),
    "scheme": Reader(scheme, lambda _, path: scheme_of(str(path))),
    "--config": Reader(options, lambda _, path: cli._from_file(["--config", str(path)], "train")),
    "store": Reader(store, read_store),
    "run": Reader(run, read_run),
    "report": Reader(report, read_report),
    "weights": Reader(weights, read_encoder),
    "encoder": Reader(exported, read_exported),
    "tensors": Reader(tensors, read_tensors),
}
