"""Images with somebody's nuclei: what belongs together, what is set aside, and out again."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morefromless.cli import run
from morefromless.data.geojson import write_geojson
from morefromless.data.nuclei import ARRAY, Nuclei
from morefromless.data.schemes import PANNUKE
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.exporting import export_geojson
from morefromless.ingest import ingest, open_source
from morefromless.labelling import labelled
from morefromless.sources.synthetic import Synthetic
from tests.ingest.made import folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twelve patches of two classes, 32 px."""
    names = {f"{'AB'[i % 2]}/p{i:02}.png": i for i in range(12)}
    return folder(tmp_path / "images", names, side=32)


def nuclei(number: int) -> Nuclei:
    """A few disjoint nuclei of a patch, mostly of one type."""
    rng = np.random.default_rng(number)
    instances = np.zeros((32, 32), np.int32)
    for k in range(1, 6):
        y, x = 6 * k - 5, int(rng.integers(0, 26))
        instances[y : y + 5, x : x + 6] = k
        instances[y, x] = 0  # not all are boxes
    return Nuclei.typed(instances, dict.fromkeys(range(1, 6), 1 + number % 3), PANNUKE)


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    for i in range(12):
        write_geojson(nuclei(i), PANNUKE, tmp_path / "masks" / f"p{i:02}.geojson")
    return tmp_path / "masks"


def test_nuclei_stand_beside_their_patch(images: Path, masks: Path, tmp_path: Path) -> None:
    source = open_source(str(images), nuclei=masks)
    report = ingest(source, tmp_path / "store", test_share=0.5, progress=False)
    store = Store.open(tmp_path / "store")
    assert report.kept == 12
    assert report.nuclei is not None
    assert sum(report.nuclei.values()) == 60
    assert "60 nuclei (20 Neoplastic, 20 Inflammatory, 20 Connective)" in str(report)
    assert store.scheme.name == "pannuke"
    assert store.meta["datasheet"]["segmentation"] == "masks (auto)"
    for row, name in enumerate(store.table["id"]):
        held = Nuclei.decode(np.asarray(store.array(ARRAY)[row]))
        expected = nuclei(int(Path(name).stem[1:]))
        np.testing.assert_array_equal(held.instances, expected.instances)
        np.testing.assert_array_equal(held.types, expected.types)
    cells = labelled(store, "cell")
    assert set(cells.classes) == {"Neoplastic", "Inflammatory", "Connective"}


def test_the_same_path_comes_before_the_same_name(
    images: Path, masks: Path, tmp_path: Path
) -> None:
    write_geojson(nuclei(2), PANNUKE, masks / "A" / "p00.geojson")  # p00 otherwise has type 1
    ingest(open_source(str(images), nuclei=masks), tmp_path / "store", progress=False)
    store = Store.open(tmp_path / "store")
    row = int(np.flatnonzero(store.table["id"] == "A/p00.png")[0])
    assert set(Nuclei.decode(np.asarray(store.array(ARRAY)[row])).types) == {3}


def test_what_cannot_be_used_is_set_aside_and_counted(
    images: Path, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (masks / "p00.geojson").unlink()
    (masks / "p01.geojson").write_text("not json")
    write_geojson(nuclei(2), PANNUKE, masks / "p02.json")  # twice
    bad = json.loads((masks / "p03.geojson").read_text())
    bad["features"][0]["properties"]["classification"]["name"] = "Martian"
    (masks / "p03.geojson").write_text(json.dumps(bad))
    del bad["features"][0]["properties"]["classification"]
    (masks / "p04.geojson").write_text(json.dumps(bad))
    (masks / "p05.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    store = tmp_path / "store"
    arguments = ["ingest", str(images), str(store), "--nuclei", str(masks), "--split", "random"]
    assert run(arguments) == 0
    said = capsys.readouterr().out
    assert "keeps 7 patches" in said
    assert "5 set aside" in said
    aside = (store / "set_aside.csv").read_text()
    for patch, reason in {
        "p00": "no segmentation: there is no file for p00",
        "p01": "unreadable: p01.geojson",
        "p02": "several segmentations: p02.geojson and p02.json",
        "p03": "type outside the scheme: 'Martian'",
        "p04": "instance without a type: 1",
    }.items():
        (line,) = (text for text in aside.splitlines() if f"{patch}.png" in text)
        assert reason in line
    kept = Store.open(store)
    row = int(np.flatnonzero(kept.table["id"] == "B/p05.png")[0])
    assert not kept.nuclei["patch"].eq(row).any()  # no features: no nuclei, and no mistake
    assert run([*arguments[:2], str(tmp_path / "other"), *arguments[3:], "--strict"]) == 2
    assert "--strict was given" in capsys.readouterr().err


def test_out_and_in_again_is_the_same(tmp_path: Path) -> None:
    """Every drawn nucleus of synthetic tissue, through GeoJSON: same ids, types and pixels."""
    source = Synthetic(patches=54, patients=6, size=64)
    ingest(source, tmp_path / "first", progress=False, workers=1)
    first = Store.open(tmp_path / "first")
    assert export_geojson(first, tmp_path / "out", progress=False) == 54
    for row, name in enumerate(first.table["id"]):
        path = tmp_path / "images" / str(first.table["label"][row]) / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(first.array("he")[row])).save(path)
    again = open_source(str(tmp_path / "images"), nuclei=tmp_path / "out")
    ingest(again, tmp_path / "second", split="random", progress=False, workers=1)
    second = Store.open(tmp_path / "second")
    assert len(second.table) == 54
    for row, name in enumerate(second.table["id"]):
        old = int(np.flatnonzero(first.table["id"] == Path(name).stem)[0])
        np.testing.assert_array_equal(second.array(ARRAY)[row], first.array(ARRAY)[old])


def test_an_export_stays_in_its_folder(tissue: Store, tmp_path: Path) -> None:
    table = tissue.table.assign(id=[f"../../{name}" for name in tissue.table["id"]])
    odd = Store(tissue.path, tissue.meta, table, tissue.arrays)
    with pytest.raises(DataError, match="outside"):
        export_geojson(odd, tmp_path / "deep" / "out", progress=False)
    assert not list(tmp_path.rglob("*.geojson"))


def test_patches_without_tissue_classes_need_nuclei(
    images: Path, masks: Path, tmp_path: Path
) -> None:
    source = open_source(str(images), unlabelled=True, nuclei=masks)
    ingest(source, tmp_path / "store", test_share=0.5, progress=False)
    store = Store.open(tmp_path / "store")
    assert store.classes == ("unlabelled",)
    assert len(labelled(store, "cell").classes) == 3
    with pytest.raises(DataError, match="are 'unlabelled', so the task tissue asks nothing"):
        labelled(store, "tissue")
    with pytest.raises(DataError, match=r"has one class only .* or nuclei \(--nuclei\)"):
        ingest(open_source(str(images), unlabelled=True), tmp_path / "bare", progress=False)


def test_an_ingest_of_other_nuclei_is_another(images: Path, masks: Path, tmp_path: Path) -> None:
    ingest(open_source(str(images), nuclei=masks), tmp_path / "store", progress=False)
    with pytest.raises(DataError, match="was not made of this source"):
        ingest(open_source(str(images)), tmp_path / "store", progress=False)


def test_mistakes_are_answered(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .* of segmentations"):
        open_source(str(images), nuclei=tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no segmentations; their files end in"):
        ingest(open_source(str(images), nuclei=tmp_path / "empty"), tmp_path / "s", progress=False)
    with pytest.raises(ConfigError, match="no nuclei format named 'stardist'"):
        open_source(str(images), nuclei=images, nuclei_format="stardist")
    with pytest.raises(ConfigError, match="neither a scheme"):
        open_source(str(images), nuclei=images, scheme="panuke")
    with pytest.raises(ConfigError, match="--unlabelled is for a folder"):
        open_source("synthetic", unlabelled=True)
