"""Images with segmented nuclei: matching of files, rejections and export."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from morefromless import nuclei_formats
from morefromless.cli import run
from morefromless.data.geojson import write_geojson
from morefromless.data.nuclei import NUCLEI_ARRAY, Nuclei
from morefromless.data.schemes import PANNUKE
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError, UnreadablePatch
from morefromless.ingest import ingest, open_source
from morefromless.ingest.segmented import WithNuclei
from morefromless.nuclei_export import export_geojson
from morefromless.nuclei_formats import NucleiFormat
from morefromless.sources.folder import Folder
from morefromless.sources.synthetic import Synthetic
from morefromless.specs import build, members
from morefromless.tasks import build_task
from tests.ingest.samples import folder


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


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    ("options", "next_command"),
    [
        ("", "mfl compare store"),
        ("--unlabelled", "mfl train store --out RUN"),
        ("--unlabelled --nuclei masks", "mfl compare store --tasks cell"),
        ("--unlabelled --nuclei masks --scheme one.yaml", "mfl train store --out RUN"),
    ],
)
def test_suggested_next_command_suits_the_store(
    masks: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: str,
    next_command: str,
) -> None:
    monkeypatch.chdir(masks.parent)
    aliases = ", ".join(f"{name}: Nucleus" for name in PANNUKE.types[1:])
    Path("one.yaml").write_text(
        f"name: one\ntypes: [Background, Nucleus]\naliases: {{{aliases}}}\n"
    )
    assert run(["ingest", "images", "store", *options.split()]) == 0
    assert capsys.readouterr().out.endswith(f"Next: mfl views store, then {next_command}\n")


def test_nuclei_are_stored_with_their_patch(images: Path, masks: Path, tmp_path: Path) -> None:
    source = open_source(str(images), nuclei=masks)
    report = ingest(source, tmp_path / "store", test_share=0.5, progress=False)
    store = Store.open(tmp_path / "store")
    assert report.accepted == 12
    assert report.nuclei is not None
    assert sum(report.nuclei.values()) == 60
    assert "60 nuclei (20 Neoplastic, 20 Inflammatory, 20 Connective)" in str(report)
    assert store.scheme.name == "pannuke"
    assert store.meta.datasheet.segmentation == "masks (auto)"
    for row, name in enumerate(store.table["id"]):
        content = Nuclei.decode(np.asarray(store.array(NUCLEI_ARRAY)[row]))
        expected = nuclei(int(Path(name).stem[1:]))
        np.testing.assert_array_equal(content.instances, expected.instances)
        np.testing.assert_array_equal(content.types, expected.types)
    cells = store.select(task=build_task("cell"))
    assert set(cells.classes) == {"Neoplastic", "Inflammatory", "Connective"}


def test_nuclei_of_resized_images_are_exported_in_source_pixels(
    images: Path, tmp_path: Path
) -> None:
    instances = np.zeros((32, 32), np.int32)
    instances[16:28, 8:20] = 1
    square = Nuclei.typed(instances, {1: 1}, PANNUKE)
    for i in range(12):
        write_geojson(square, PANNUKE, tmp_path / f"masks/p{i:02}.geojson")
    source = open_source(str(images), nuclei=tmp_path / "masks")
    ingest(source, tmp_path / "store", resize=16, um_per_px=0.5, progress=False)
    export_geojson(Store.open(tmp_path / "store"), tmp_path / "out")
    exported = build("geojson", nuclei_formats, NucleiFormat).read(
        tmp_path / "out/A/p00.geojson", (32, 32)
    )
    np.testing.assert_array_equal(exported.instances, instances)
    ingest(source, tmp_path / "scaleless", resize=16, progress=False)
    with pytest.raises(DataError, match=r"was resized.*ingest again with --um-per-px"):
        export_geojson(Store.open(tmp_path / "scaleless"), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("nuclei_format", ["auto", "label-images"])
def test_changed_nuclei_types_are_refused_as_another_source(
    images: Path, tmp_path: Path, nuclei_format: str
) -> None:
    for part in ("instances", "types"):
        (tmp_path / "labels" / part).mkdir(parents=True)
    for i in range(12):
        Image.fromarray(nuclei(i).instances.astype(np.uint8)).save(
            tmp_path / f"labels/instances/p{i:02}.png"
        )
        types = {str(k): "Dead" for k in range(1, 6)}
        (tmp_path / f"labels/types/p{i:02}.json").write_text(json.dumps(types))
    options: dict[str, Any] = {"nuclei": tmp_path / "labels", "nuclei_format": nuclei_format}
    ingest(open_source(str(images), **options), tmp_path / "store", progress=False)
    assert ingest(
        open_source(str(images), **options), tmp_path / "store", progress=False
    ).already_existed
    (tmp_path / "labels/types/p00.json").write_text(json.dumps(types | {"1": "Neoplastic"}))
    with pytest.raises(DataError, match="was not made from this source with these options"):
        ingest(open_source(str(images), **options), tmp_path / "store", progress=False)


def test_equal_path_takes_precedence_over_equal_name(
    images: Path, masks: Path, tmp_path: Path
) -> None:
    write_geojson(nuclei(2), PANNUKE, masks / "A" / "p00.geojson")  # p00 otherwise has type 1
    ingest(open_source(str(images), nuclei=masks), tmp_path / "store", progress=False)
    store = Store.open(tmp_path / "store")
    row = int(np.flatnonzero(store.table["id"] == "A/p00.png")[0])
    assert set(Nuclei.decode(np.asarray(store.array(NUCLEI_ARRAY)[row])).types) == {3}


def test_unusable_segmentations_are_rejected_and_counted(
    images: Path, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (masks / "p00.geojson").unlink()
    (masks / "p01.geojson").write_text("not json")
    write_geojson(nuclei(2), PANNUKE, masks / "p02.json")  # twice
    collection = json.loads((masks / "p03.geojson").read_text())
    collection["features"][0]["properties"]["classification"]["name"] = "Martian"
    (masks / "p03.geojson").write_text(json.dumps(collection))
    del collection["features"][0]["properties"]["classification"]
    (masks / "p04.geojson").write_text(json.dumps(collection))
    (masks / "p05.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    store = tmp_path / "store"
    arguments = ["ingest", str(images), str(store), "--nuclei", str(masks), "--split", "random"]
    assert run(arguments) == 0
    output = capsys.readouterr().out
    assert "contains 7 patches" in output
    assert "5 rejected" in output
    rejected = (store / "rejected.csv").read_text()
    for patch, reason in {
        "p00": "no segmentation: there is no file for p00",
        "p01": "unreadable: p01.geojson",
        "p02": "several segmentations: p02.geojson and p02.json",
        "p03": "type outside the scheme: 'Martian'",
        "p04": "instance without a type: 1",
    }.items():
        (line,) = (text for text in rejected.splitlines() if f"{patch}.png" in text)
        assert reason in line
    accepted = Store.open(store)
    row = int(np.flatnonzero(accepted.table["id"] == "B/p05.png")[0])
    assert not accepted.nuclei["patch"].eq(row).any()  # no features: no nuclei, and no mistake
    assert run([*arguments[:2], str(tmp_path / "other"), *arguments[3:], "--strict"]) == 2
    assert "run without --strict" in capsys.readouterr().err


def test_exported_nuclei_can_be_ingested_unchanged(tmp_path: Path) -> None:
    """All nuclei of synthetic tissue keep their ids, types and pixels through GeoJSON."""
    source = Synthetic(patches=27, patients=3, size=64)
    ingest(source, tmp_path / "first", progress=False, workers=1)
    first = Store.open(tmp_path / "first")
    assert export_geojson(first, tmp_path / "out") == 27
    for row, name in enumerate(first.table["id"]):
        path = tmp_path / "images" / str(first.table["label"][row]) / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(first.array("he")[row])).save(path)
    exported = open_source(str(tmp_path / "images"), nuclei=tmp_path / "out")
    ingest(exported, tmp_path / "second", split="random", progress=False, workers=1)
    second = Store.open(tmp_path / "second")
    assert len(second.table) == 27
    for row, name in enumerate(second.table["id"]):
        first_row = int(np.flatnonzero(first.table["id"] == Path(name).stem)[0])
        np.testing.assert_array_equal(
            second.array(NUCLEI_ARRAY)[row], first.array(NUCLEI_ARRAY)[first_row]
        )


def test_export_outside_its_folder_is_refused(tissue: Store, tmp_path: Path) -> None:
    table = tissue.table.assign(id=[f"../../{name}" for name in tissue.table["id"]])
    escaping = Store(tissue.path, tissue.meta, table, tissue.arrays)
    with pytest.raises(DataError, match="outside"):
        export_geojson(escaping, tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("*.geojson"))


def test_export_replaces_only_its_own_files(tissue: Store, tmp_path: Path) -> None:
    subset = Store(tissue.path, tissue.meta, tissue.table[:12], tissue.arrays)
    out = tmp_path / "out"
    assert export_geojson(subset, out) == 12
    before = {path: path.read_bytes() for path in out.rglob("*.geojson")}
    assert export_geojson(subset, out) == 12 == len(before)
    assert {path: path.read_bytes() for path in out.rglob("*.geojson")} == before
    last = sorted(before)[-1]
    last.write_text("mine")
    first = sorted(before)[0]
    first.unlink()
    with pytest.raises(DataError, match="was not written by this command; choose another folder"):
        export_geojson(subset, out)
    assert last.read_text() == "mine"
    assert not first.exists()  # nothing is written before all places are checked
    ids = [f"{name}.png" for name in subset.table["id"]]
    ids[1] = ids[0].replace(".png", ".jpg")
    twins = Store(subset.path, subset.meta, subset.table.assign(id=ids), subset.arrays)
    with pytest.raises(DataError, match=r"The ids '.*png' and '.*jpg' would both write"):
        export_geojson(twins, tmp_path / "twins")
    assert not (tmp_path / "twins").exists()


def test_unlabelled_patches_with_nuclei_have_the_cell_task(
    images: Path, masks: Path, tmp_path: Path
) -> None:
    source = open_source(str(images), unlabelled=True, nuclei=masks)
    ingest(source, tmp_path / "store", test_share=0.5, progress=False)
    store = Store.open(tmp_path / "store")
    assert store.classes == ("unlabelled",)
    assert len(store.select(task=build_task("cell")).classes) == 3
    with pytest.raises(DataError, match=r"'unlabelled', so the task tissue .*; use the task cell"):
        store.select(task=build_task("tissue"))


def test_ingest_without_nuclei_is_refused_as_another_source(
    images: Path, masks: Path, tmp_path: Path
) -> None:
    ingest(open_source(str(images), nuclei=masks), tmp_path / "store", progress=False)
    with pytest.raises(DataError, match="was not made from this source"):
        ingest(open_source(str(images)), tmp_path / "store", progress=False)


def test_invalid_nuclei_options_are_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no segmentation folder .*none"):
        open_source(str(images), nuclei=tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="contains no segmentation files; expected extensions: "):
        ingest(open_source(str(images), nuclei=tmp_path / "empty"), tmp_path / "s", progress=False)
    with pytest.raises(ConfigError, match="no nuclei format named 'stardist'"):
        open_source(str(images), nuclei=images, nuclei_format="stardist")
    with pytest.raises(ConfigError, match="neither a scheme"):
        open_source(str(images), nuclei=images, scheme="panuke")
    with pytest.raises(ConfigError, match="--unlabelled is for a folder"):
        open_source("synthetic", unlabelled=True)


def matched_files(source: WithNuclei) -> dict[str, str]:
    """The file of every image, or the first words of the reason why it has none."""
    result = {}
    for item in source.items():
        try:
            result[item.id] = source._file(item)[0].relative_to(source.folder).as_posix()
        except UnreadablePatch as error:
            result[item.id] = str(error).partition(":")[0]
    return result


NONE, IMAGES, FILES = "no segmentation", "several images", "several segmentations"


@pytest.mark.parametrize(
    ("names", "files", "expected"),
    [
        (["A/p.png", "B/p.png"], ["A/p.json", "B/p.json"], ["A/p.json", "B/p.json"]),
        (["A/p.png", "B/p.png"], ["B/p.json"], [NONE, "B/p.json"]),  # another image's
        (["A/p.png", "B/p.png"], ["p.json"], [IMAGES, IMAGES]),
        (["A/p.png", "B/p.png"], ["A/p.json", "p.json"], ["A/p.json", IMAGES]),
        (["A/p.png", "B/q.png"], ["B/p.json", "x/q.json"], [NONE, "x/q.json"]),
        (["A/p.png", "A/p.jpg"], ["A/p.json"], [IMAGES, IMAGES]),
        (["A/p.png", "B/q.png"], ["p.json", "p.geojson"], [FILES, NONE]),
        (["A/p.png", "B/p.png"], ["A/p/cells.json", "p_cells.json"], ["A/p/cells.json", IMAGES]),
        (
            ["A/p.png", "B/p_cells.png"],
            ["p/cell_detection/cells.json", "p_cells.json"],
            ["p/cell_detection/cells.json", "p_cells.json"],
        ),
        (["A/\u00e9.png", "B/p.png"], ["A/e\u0301.json"], ["A/e\u0301.json", NONE]),
    ],
)
def test_file_is_matched_to_one_image(
    tmp_path: Path, names: list[str], files: list[str], expected: list[str]
) -> None:
    root = folder(tmp_path / "images", {name: k for k, name in enumerate(names)}, side=32)
    for name in files:
        cells = name.endswith("cells.json")
        path = tmp_path / "masks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"cells": []}' if cells else '{"type": "FeatureCollection"}')
    source = WithNuclei(Folder(str(root)), tmp_path / "masks", PANNUKE)
    assert matched_files(source) == dict(zip(names, expected, strict=True))


def test_pipes_and_folders_are_not_opened(images: Path, masks: Path) -> None:
    for name in ("p00.geojson", "p01.mat", "p02.db", "p03.dat", "p04.npy", "p05.csv"):
        (masks / name).unlink(missing_ok=True)
        os.mkfifo(masks / name)
    (masks / "p06.geojson").unlink()
    (masks / "p06.geojson").mkdir()
    source = WithNuclei(Folder(str(images)), masks, PANNUKE)
    reasons = {}
    for item in source.items():
        try:
            source.read(item)
        except UnreadablePatch as error:
            reasons[Path(item.id).stem] = str(error)
    assert reasons["p00"].startswith("not a file: p00.geojson")
    assert reasons["p06"].startswith("not a file: p06.geojson")
    for name in members(nuclei_formats, NucleiFormat):
        nuclei_format = build(name, nuclei_formats, NucleiFormat)
        for suffix in nuclei_format.suffixes:
            pipe = masks / f"{name}{suffix}"
            os.mkfifo(pipe)
            nuclei_format.recognises(pipe)
            with pytest.raises(UnreadablePatch):
                nuclei_format.read(pipe, (32, 32))


def test_skipped_annotations_are_counted(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(12):
        write_geojson(nuclei(i), PANNUKE, tmp_path / "masks" / f"p{i:02}.geojson")
    path = tmp_path / "masks" / "p03.geojson"
    content = json.loads(path.read_text())
    region = {**content["features"][0], "properties": {"objectType": "annotation"}}
    path.write_text(json.dumps({**content, "features": [region, *content["features"]]}))
    store = tmp_path / "store"
    arguments = ["ingest", str(images), str(store), "--nuclei", str(tmp_path / "masks")]
    assert run([*arguments, "--split", "random"]) == 0
    assert "1 x annotation next to nuclei" in capsys.readouterr().out
    assert len(Store.open(store).nuclei) == 60


def test_untyped_nuclei_are_a_view_without_a_task(images: Path, tmp_path: Path) -> None:
    for i in range(12):
        write_geojson(nuclei(i), PANNUKE, tmp_path / "masks" / f"p{i:02}.geojson")
        path = tmp_path / "masks" / f"p{i:02}.geojson"
        content = json.loads(path.read_text())
        for feature in content["features"]:
            del feature["properties"]["classification"]
        path.write_text(json.dumps(content))
    source = open_source(str(images), nuclei=tmp_path / "masks", scheme="untyped")
    ingest(source, tmp_path / "store", test_share=0.5, progress=False)
    store = Store.open(tmp_path / "store")
    assert set(store.nuclei["type"]) == {1}
    assert store.select(task=build_task("tissue")).classes == ("A", "B")
    with pytest.raises(DataError, match="have no types, so the task cell is undefined"):
        store.select(task=build_task("cell"))
