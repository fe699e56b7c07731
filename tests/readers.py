"""Every reader of foreign files: its valid files, and how it is called (`tests.fuzz`)."""

import gzip
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import shapely
import tifffile
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from morefromless import cli, files, nuclei_formats
from morefromless.cluster import queued_jobs
from morefromless.config import RunConfig, from_flat, to_flat
from morefromless.data.annotations import read_annotations
from morefromless.data.channels import channel_names, channels_shape, read_channels
from morefromless.data.schemes import load_scheme
from morefromless.data.slide_readers import open_slide
from morefromless.data.store import Store
from morefromless.data.tissue import find_tissue, tissue_tiles
from morefromless.encoders import build_encoder
from morefromless.encoders._weights import read_weights
from morefromless.errors import UnreadablePatch
from morefromless.evaluation import calibration
from morefromless.evaluation.cache import cached
from morefromless.evaluation.calibration import calibrated_name, read_calibrated
from morefromless.evaluation.loading import load_encoder
from morefromless.evaluation.metadata import build_metadata
from morefromless.inference.export import export
from morefromless.ingest import ingest, open_source
from morefromless.nuclei_formats import NucleiFormat
from morefromless.report.report import write_report
from morefromless.runs import Run
from morefromless.specs import members
from tests.data.slides import drawn, write_ome, write_tiled
from tests.inference.conftest import write_slide
from tests.nuclei_formats.test_round_trips import SIDE, WRITERS
from tests.report.handmade import reproduction
from tests.sources import test_conic, test_consep, test_manifest, test_pannuke, test_spatial


@dataclass(frozen=True)
class Reader:
    """One reader of foreign files."""

    write: Callable[[Path], list[Path]]
    """Writes valid files into a new folder; returns those to mutate."""
    read: Callable[[Path, Path], object]
    """Called with the folder and the mutated file."""


def files_in(folder: Path, *patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.rglob(pattern) if path.is_file())


def source(spec: str) -> Callable[[Path, Path], None]:
    """Return a reader of a source's first patches; `{}` in the specification is the folder."""

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
    return files_in(folder, "*")


def read_nuclei(folder: Path, path: Path) -> None:
    """Read a file and those in the same folder with each format that has their suffix."""
    group = folder / path.relative_to(folder).parts[0]
    refusal: UnreadablePatch | None = None
    for target in files_in(group, "*"):
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
    return files_in(folder, "*")


def npz(folder: Path) -> list[Path]:
    folder.mkdir()
    arrays = {"test_images": np.zeros((4, 28, 28, 3), np.uint8), "test_labels": np.arange(4)}
    for save in (np.savez, np.savez_compressed):
        save(folder / f"{save.__name__}.npz", **arrays)  # type: ignore[arg-type]
    return files_in(folder, "*")


def archives(folder: Path) -> list[Path]:
    images(folder / "in")
    for kind in ("zip", "tar", "gztar", "xztar"):
        shutil.make_archive(str(folder / "packed" / kind), kind, folder / "in")
    return files_in(folder / "packed", "*")


def read_file(_: Path, path: Path) -> None:
    source(str(path))(path, path)


def slides(folder: Path) -> list[Path]:
    folder.mkdir()
    image = drawn(128)
    write_ome(folder / "a.ome.tif", image, factor=2)
    write_tiled(folder / "b.tif", image)
    write_slide(folder / "c.svs", image, 0.5)
    tifffile.imwrite(folder / "d.tif", image, resolution=(2e4, 2e4), resolutionunit="CENTIMETER")
    return files_in(folder, "*")


def read_slide(_: Path, path: Path) -> None:
    slide = open_slide(path, 0.5)
    tissue_tiles(slide, find_tissue(slide), 16, 1.0)
    slide.read(3, 5, 16, 16, 1.0)


def annotations(folder: Path) -> list[Path]:
    folder.mkdir()
    shapes = [shapely.box(0, 0, 60, 40), shapely.MultiPolygon([shapely.box(9, 9, 80, 80)])]
    features = [
        {
            "type": "Feature",
            "geometry": msgspec.json.decode(shapely.to_geojson(shape)),
            "properties": {"objectType": "annotation", "classification": {"name": f"class {k}"}},
        }
        for k, shape in enumerate([*shapes, shapely.Point(3, 3)])
    ]
    content = msgspec.json.encode({"type": "FeatureCollection", "features": features})
    (folder / "a.geojson").write_bytes(content)
    (folder / "a.geojson.gz").write_bytes(gzip.compress(content))
    return files_in(folder, "*")


def read_drawn(_: Path, path: Path) -> None:
    read_annotations(path).labels(np.array([[0, 0], [16, 16], [48, 32]]), 16)


def channels(folder: Path) -> list[Path]:
    folder.mkdir()
    values = np.arange(4 * 20 * 20, dtype=np.uint16).reshape(4, 20, 20)
    names = {"axes": "CYX", "Channel": {"Name": list("abcd")}}
    tifffile.imwrite(folder / "a.ome.tif", values, photometric="minisblack", metadata=names)
    tifffile.imwrite(folder / "b.tif", values, imagej=True, compression="deflate")
    np.save(folder / "c.npy", values)
    return files_in(folder, "*")


def read_pages(_: Path, path: Path) -> None:
    channel_names(path)
    channels_shape(path)
    read_channels(path)


def manifest(folder: Path) -> list[Path]:
    table = test_manifest.pairs(folder)
    table.to_csv(folder / "pairs.csv", index=False)
    table.to_parquet(folder / "pairs.parquet")
    return files_in(folder, "pairs.*")


def vectors(folder: Path) -> list[Path]:
    table = test_manifest.pairs(folder, ihc=None)
    rows = pd.DataFrame({"spot": table["id"], "a": 1.0, "b": range(len(table))})
    rows.to_csv(folder / "rna.csv", index=False)
    np.save(folder / "rna.npy", rows[["a", "b"]].to_numpy())
    table["rna"] = "rna.npy#" + table.index.astype(str)
    table["protein"] = "rna.csv#" + table["id"]
    table.to_csv(folder / "pairs.csv", index=False)
    return files_in(folder, "rna.*", "1.png")


def sections(folder: Path) -> list[Path]:
    folder.mkdir()
    for seed, name in enumerate("AB"):
        test_spatial.section(folder, name, seed)
    return files_in(folder, "*.h5ad", "*.png")


def pannuke(folder: Path) -> list[Path]:
    test_pannuke.published(folder, folds=2)
    return files_in(folder, "*.npy")


def conic(folder: Path) -> list[Path]:
    folder.mkdir()
    test_conic.conic(folder)
    return files_in(folder, "*")


def consep(folder: Path) -> list[Path]:
    for split in ("Train", "Test"):
        test_consep.tile(folder, f"{split}/{split.lower()}_1")
    return files_in(folder, "*")


def scheme(folder: Path) -> list[Path]:
    folder.mkdir()
    content = {"name": "own", "types": ["none", "a", "b"], "aliases": {"1": "a", "x": "b"}}
    (folder / "scheme.yaml").write_text(yaml.safe_dump(content))
    return files_in(folder, "*")


def options(folder: Path) -> list[Path]:
    folder.mkdir()
    config = to_flat(RunConfig(store=Path("store"), out=Path("run")))
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return files_in(folder, "*")


def store(folder: Path) -> list[Path]:
    ingest(open_source("synthetic:patches=180,patients=12,size=16"), folder, progress=False)
    return files_in(folder, "*")


def read_store(folder: Path, _: Path) -> None:
    opened = Store.open(folder)
    opened.verify()
    _ = opened.nuclei


def finished_run(folder: Path) -> Run:
    """A finished supervised run of a missing store."""
    options = {"store": "store", "out": folder, "encoder": "test_resnet", "kind": "supervised"}
    config = from_flat(RunConfig, {**options, "size": 16})
    network = build_encoder("test_resnet").state_dict()
    weights = {f"encoder.{name}": tensor for name, tensor in network.items()}
    weights |= {"head.weight": torch.ones(2, 64), "head.bias": torch.ones(2)}
    new_run = Run.begin(config, "0" * 32)
    metadata = build_metadata(config, weights, head=("a", "b"))
    new_run.finish(weights, {"seconds": 1.0}, msgspec.to_builtins(metadata))
    return new_run


def run(folder: Path) -> list[Path]:
    trained_run = finished_run(folder)
    trained_run.fail("What went wrong.")
    submitted = {"job": "7", "kind": "local", "when": "2026-01-01", "host": "h"}
    files.write_json(folder / "submitted.json", submitted)
    return files_in(folder, "*.json", "*.yaml", "*.safetensors")


def read_run(folder: Path, _: Path) -> None:
    opened = Run(folder)
    _ = opened.state, opened.failure, queued_jobs([opened])
    _ = load_encoder(folder).modality


def read_report(folder: Path, _: Path) -> None:
    write_report(folder)


def report(folder: Path) -> list[Path]:
    reproduction(folder)
    return files_in(folder, "*.json", "*.csv")


def weights(folder: Path) -> list[Path]:
    folder.mkdir()
    tensors = {"encoder.network.weight": torch.ones(3, 2), "mean": torch.ones(3)}
    save_file(tensors, folder / "a.safetensors", metadata={"mean": "[1]", "std": "[1]"})
    torch.save({"state_dict": tensors}, folder / "a.pt")
    (folder / "config.json").write_text('{"pretrained_cfg": {"mean": [1, 1, 1], "std": [1, 1, 1]}}')
    return files_in(folder, "*")


def read_encoder(folder: Path, path: Path) -> None:
    for file in [path] if path.suffix != ".json" else files_in(folder, "a.*"):
        read_weights(file, "test_resnet")


def exported(folder: Path) -> list[Path]:
    run = finished_run(folder / "run")
    frozen = load_encoder(run.path)

    def probe() -> dict[str, torch.Tensor]:
        return {name: torch.ones(1) for name in calibration.TENSORS}

    key = {"weights": frozen.fingerprint, "store": "", "classes": '["a", "b"]', "probe": ""}
    frozen.cached(calibrated_name(frozen, "tissue"), key, probe)
    export(frozen, folder / "exported", run.path)
    return files_in(folder / "exported", "*")


def read_exported(folder: Path, _: Path) -> None:
    frozen = load_encoder(folder / "exported")
    _ = frozen.modality
    read_calibrated(folder / "exported", frozen, "tissue")


def tensors(folder: Path) -> list[Path]:
    read_tensors(folder, folder)
    return files_in(folder, "*")


def read_tensors(folder: Path, _: Path) -> None:
    cached(folder / "features.safetensors", {"of": "this"}, lambda: {"y": torch.ones(3)})


READERS = {
    "nuclei": Reader(nuclei, read_nuclei),
    "images": Reader(images, source("{}")),
    "archives": Reader(archives, read_file),
    "slides": Reader(slides, read_slide),
    "annotations": Reader(annotations, read_drawn),
    "channels": Reader(channels, read_pages),
    "npz": Reader(npz, read_file),
    "table .csv": Reader(manifest, source("{}/pairs.csv")),
    "table .parquet": Reader(manifest, source("{}/pairs.parquet")),
    "vectors": Reader(vectors, source("{}/pairs.csv")),
    "spatial .h5ad": Reader(sections, source("spatial:{},test=B,patch=16,genes=5")),
    "pannuke .npy": Reader(pannuke, source("pannuke:{}")),
    "conic .npy .csv": Reader(conic, source("conic:{}")),
    "consep .mat": Reader(consep, source("consep:{}")),
    "scheme": Reader(scheme, lambda _, path: load_scheme(str(path))),
    "--config": Reader(options, lambda _, path: cli._from_file(["--config", str(path)], "train")),
    "store": Reader(store, read_store),
    "run": Reader(run, read_run),
    "report": Reader(report, read_report),
    "weights": Reader(weights, read_encoder),
    "exported": Reader(exported, read_exported),
    "tensors": Reader(tensors, read_tensors),
}
