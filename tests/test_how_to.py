"""The commands of the how-to pages do what the pages say."""

import hashlib
import shlex
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from safetensors.numpy import load_file

from morefromless import catalogue
from morefromless.cli import run
from morefromless.data.store import Store
from morefromless.ingest import ingest
from morefromless.sources.synthetic import Synthetic
from tests.conftest import TINY
from tests.data.slides import drawn, write_ome
from tests.data.space_ranger import write_space_ranger
from tests.data.spatial_zarr import write_spatialdata
from tests.ingest.samples import folder
from tests.ingest.test_tiling import annotate
from tests.sources.test_spatial import section
from tests.storage import s3_server
from tests.test_docs import ROOT, command_lines


def run_page(page: str, *extra: str, **replacements: str) -> None:
    """Run every command line of a page after replacing words. Commands that train also get the
    words in `extra`."""
    for line in command_lines(ROOT / "docs/how-to" / page):
        words = [replacements.get(word, word) for word in shlex.split(line, comments=True)[1:]]
        assert run([*words, *(extra if words[0] in ("train", "compare") else ())]) == 0, line


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def tiny(**overrides: object) -> list[str]:
    options = {**TINY, "width": 16, **overrides}
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def test_air_gapped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    classes = ("ADI", "STR", "TUM")
    names = {
        f"CRC-VAL-HE-7K/{c}/{c}-TCGA-{x * 8}.tif": i for i, c in enumerate(classes) for x in "AB"
    }
    shutil.make_archive("disk/CRC-VAL-HE-7K", "zip", folder(Path("packed"), names))
    content = Path("disk/CRC-VAL-HE-7K.zip").read_bytes()
    sheet = catalogue.public_set("crc-val-he-7k")
    md5 = hashlib.md5(content).hexdigest()
    file = msgspec.structs.replace(sheet.files[0], bytes=len(content), md5=md5)
    small = msgspec.structs.replace(sheet, files=(file,), counts=dict.fromkeys(classes, 2))
    monkeypatch.setattr(catalogue, "public_set", lambda _: small)
    monkeypatch.setattr("morefromless.ingest.opening.public_set", lambda _: small)
    monkeypatch.setattr("urllib.request.urlopen", None)  # no network is called
    run_page("air-gapped.md", **{"/media/disk": str(tmp_path / "disk")})
    output = capsys.readouterr().out
    assert "nct-crc-he-100k" in output
    assert "CC BY 4.0" in output
    store = Store.open(Path("stores/val"))
    assert store.meta.datasheet.citation == sheet.citation
    assert store.um_per_px == 0.5
    assert set(sheet.pitfalls) <= set(store.caveats)


def test_your_own_data() -> None:
    folder(
        Path("patches"),
        {f"P{p}/{c}/1.png": 10 * p + t for p in range(4) for t, c in enumerate("AB")},
    )
    folder(
        Path("hospital"),
        {f"{c}/{i}.png": 100 * t + i for i in range(4) for t, c in enumerate("AB")},
    )
    folder(Path("unsorted"), {f"{i}.png": i for i in range(20)}, side=32)
    tissues = ("TUM", "MUS", "STR", "ADI")
    folder(
        Path("scans"),
        {f"P0{p}_{c}_1.png": 10 * p + t for p in range(4) for t, c in enumerate(tissues)},
    )
    shutil.make_archive("patches", "zip", "patches")
    run_page("your-own-data.md", *tiny(batch=8))
    classes = {name: Store.open(Path("stores") / name).classes for name in "abcde"}
    assert classes["a"] == classes["e"] == ("A", "B")
    assert Store.open(Path("stores/z")).hash == Store.open(Path("stores/a")).hash
    assert classes["b"] == ("ADI", "MUS", "STR", "TUM")
    assert classes["c"] == ("muscle", "tumour")
    assert classes["d"] == ("unlabelled",)
    assert set(Store.open(Path("stores/a")).table["group"]) == {"P0", "P1", "P2", "P3"}
    assert Path("runs/d/weights.safetensors").is_file()


def test_spatial() -> None:
    Path("sections").mkdir()
    for seed, name in enumerate("ABCD"):
        counts = np.random.default_rng(seed).poisson(3, (12, 1000)).astype(np.float32)
        genes = [f"G{number}" for number in range(1000)]
        places = np.array([[130.0 + 20 * k, 140.0 + 10 * k] for k in range(12)])
        clusters = {"cluster": [str(9 if name == "A" and k == 0 else k % 2) for k in range(12)]}
        contents = {"counts": counts, "genes": genes, "places": places, "table": clusters}
        section(Path("sections"), name, seed, **contents, shape=(400, 500))
        write_space_ranger(Path(f"visium/T{seed + 1}"), seed)
    for seed in (0, 3):
        write_spatialdata(Path(f"scverse/T{seed + 1}.zarr"), seed)
    run_page("spatial.md", *tiny(batch=8, epochs=1, warmup=0))
    spots = Store.open(Path("stores/spots"))
    assert spots.classes == ("0", "1")
    assert spots.arrays["expression"].shape == (47, 1000)
    visium = Store.open(Path("stores/visium"))
    assert set(visium.table["group"]) == {"P0", "P1"}
    assert any(c.startswith("1 group is in both") for c in visium.caveats)
    assert len(Store.open(Path("stores/scverse")).table) == 2 * 23
    assert Path("runs/visium/weights.safetensors").is_file()


def test_whole_slides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})  # no process per slide
    for number in range(4):
        tissue = ("tumour", "normal")[number % 2]
        path = Path(f"slides/{tissue}/{number}.ome.tif")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_ome(path, drawn(640, number), um_per_px=0.5)
        regions = [("gland", 0, 0, 224, 640), ("stroma", 224, 0, 640, 640)]
        annotate(Path("annotations"), str(number), *regions)
    run_page("whole-slides.md", *tiny(batch=4), "--warmup", "0")
    power, field = Store.open(Path("stores/power")), Store.open(Path("stores/field"))
    assert power.arrays["low-power"].shape[1:] == (56, 56, 3)
    assert (field.scale("he"), field.scale("context")) == (0.5, 2.0)
    assert Store.open(Path("stores/regions")).classes == ("gland", "stroma")
    assert Store.open(Path("stores/classes")).classes == ("normal", "tumour")
    assert Path("runs/field/weights.safetensors").is_file()


def test_external_validation() -> None:
    patients = {f"P{p}_{i}.png": 100 * p + i for p in range(8) for i in range(3)}
    files = {
        f"{c}/{n}": seed + 10_000 * t for t, c in enumerate("ABC") for n, seed in patients.items()
    }
    folder(Path("patches"), files)
    folder(Path("hospital"), {n: seed + 1000 for n, seed in files.items()})
    clinic_classes = ("tumor", "normal", "artefact")
    folder(
        Path("clinic"),
        {f"{c}/{i}.png": 5000 + 10 * t + i for t, c in enumerate(clinic_classes) for i in range(4)},
    )
    run_page("external-validation.md", *tiny(batch=8, seeds=1, jobs=1), "--sharing", "shared")
    table = pd.read_csv("runs/a/validation-b/validation.csv", keep_default_na=False)
    accuracy = table[table["metric"] == "accuracy"]
    assert set(accuracy["cohort"]) == {"internal", "external"}
    assert set(accuracy["arm"]) >= {"asymmetric", "symmetric", "supervised", "mean-rgb"}
    assert "'normal' 4, 'C' 4" in Path("runs/a/validation-c/validation.md").read_text()


def test_stain(tissue: Store) -> None:
    Path("stores").mkdir()
    Path("stores/mine").symlink_to(tissue.path)
    names = {f"P{p}_{c}_1.png": 10 * p + t for p in range(4) for t, c in enumerate("AB")}
    folder(Path("scans"), names)
    run_page("stain.md", *tiny(epochs=1, warmup=0))
    assert "each of 4 patients or slides" in " ".join(Store.open(Path("stores/normalised")).caveats)
    assert Path("views.png").is_file()
    assert Path("runs/stain/weights.safetensors").is_file()


def test_multiplex() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for k in range(16):
        name = f"{k:03}"
        for column in ("he", "if"):
            Path(column).mkdir(exist_ok=True)
        he = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(he).save(f"he/{name}.png")
        channels = rng.integers(90, (3000, 2000, 1000, 900), (32, 32, 4)).astype(np.uint16)
        tifffile.imwrite(
            f"if/{name}.ome.tif", np.moveaxis(channels, -1, 0), metadata={"axes": "CYX"}
        )
        label, group = ("positive", "negative")[k % 2], f"P{k // 2}"
        rows.append(f"{name},he/{name}.png,if/{name}.ome.tif,{label},{group}")
    Path("pairs.csv").write_text("\n".join(["id,he,if,label,group", *rows]))
    run_page("multiplex.md", *tiny(batch=4, epochs=1, warmup=0))
    assert Store.open(Path("stores/if")).arrays["if"].dtype == np.uint16
    weights = load_file("runs/if/weights.safetensors")
    n_channels = [w.shape[1] for n, w in weights.items() if "privileged" in n and w.ndim == 4]
    assert 4 in n_channels
    assert Path("if.png").is_file()


def test_larger_than_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    ingest(Synthetic(patches=90, patients=6, size=16), Path("stores/mine"), progress=False)
    with s3_server(monkeypatch):
        run_page("larger-than-the-disk.md", *tiny(size=16, epochs=1))
    assert Store.open(Path("stores/streamed")).hash == Store.open(Path("stores/mine")).hash
