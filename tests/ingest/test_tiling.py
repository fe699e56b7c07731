"""Slides are tiled: tiles of tissue in registered arrays, with labels, positions and previews."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morefromless.cli import run
from morefromless.config import TileConfig
from morefromless.data.slide_readers import open_slide
from morefromless.data.slides import Slide
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.ingest import ingest
from morefromless.ingest.tiling import Tiles, fingerprint
from tests.data.slides import drawn, write_ome, write_tiled
from tests.data.test_slides import averages
from tests.real import real

WORDS = ["--mpp", "4", "--size", "32", "--workers", "1"]


@pytest.fixture
def slides(tmp_path: Path) -> list[Path]:
    """Two slides of tissue at 4 µm per pixel."""
    return [
        write_ome(tmp_path / "a.ome.tif", drawn(1024, 0), um_per_px=4.0),
        write_tiled(tmp_path / "b.tif", drawn(1024, 1), um_per_px=4.0),
    ]


def tile(slides: list[Path], store: Path, *options: str) -> int:
    return run(["tile", *map(str, slides), str(store), *WORDS, *options])


def annotate(folder: Path, name: str, *boxes: tuple[str, int, int, int, int]) -> None:
    """As QuPath exports annotations: x and y of two corners, in px of the finest level."""
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]],
            },
            "properties": {"objectType": "annotation", "classification": {"name": label}},
        }
        for label, x0, y0, x1, y1 in boxes
    ]
    folder.mkdir(exist_ok=True)
    document = {"type": "FeatureCollection", "features": features}
    (folder / f"{name}.geojson").write_text(json.dumps(document))


def test_arrays_are_registered_at_the_tile_positions(slides: list[Path], tmp_path: Path) -> None:
    assert tile(slides, tmp_path / "store", "--low-power", "16", "--context", "8") == 0
    store = Store.open(tmp_path / "store")
    sides = {name: array.shape[1:] for name, array in store.arrays.items()}
    assert sides == {"he": (32, 32, 3), "low-power": (8, 8, 3), "context": (32, 32, 3)}
    scales = [store.scale(name) for name in ("he", "low-power", "context")]
    assert scales == [4.0, 16.0, 8.0]
    assert set(store.table["group"]) == {"a", "b"}
    originals = {"a": drawn(1024, 0), "b": np.asarray(Image.open(slides[1]))}
    padding = ((16, 160), (16, 160), (0, 0))
    padded = {n: np.pad(o, padding, constant_values=255) for n, o in originals.items()}
    for row in range(0, len(store.table), 7):
        x, y, name = (store.table[c][row] for c in ("x", "y", "group"))
        image = padded[name]
        field = image[16 + y : 48 + y, 16 + x : 48 + x].astype(float)
        slack = 0.51 if name == "a" else 3  # two decoders of JPEG
        assert np.abs(store.arrays["he"][row] - field).max() <= slack
        low = field.reshape(8, 4, 8, 4, 3).mean((1, 3))
        assert np.abs(store.arrays["low-power"][row] - low).max() <= slack
        wide = image[y : y + 64, x : x + 64].reshape(32, 2, 32, 2, 3).mean((1, 3))
        assert np.abs(store.arrays["context"][row] - wide).max() <= slack


def test_levels_need_not_be_powers_of_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Levels of 4 and 12 µm per px: 8 is read from the first, 16 from the second."""
    image = drawn(600)
    slide = write_ome(tmp_path / "a.ome.tif", image, um_per_px=4.0, factor=3)
    assert open_slide(slide).downsamples == (1.0, 3.0)
    assert tile([slide], tmp_path / "store", "--low-power", "16", "--context", "8") == 0
    pair = "--primary full:low-power --privileged full"
    assert f"{tmp_path / 'store'} --out RUN {pair}\n" in capsys.readouterr().out
    store = Store.open(tmp_path / "store")
    assert [store.scale(name) for name in ("he", "low-power", "context")] == [4.0, 16.0, 8.0]
    coarse = np.rint(image.reshape(200, 3, 200, 3, 3).mean((1, 3))).astype(np.uint8)
    inside = store.table[(store.table["x"] >= 16) & (store.table["y"] >= 16)]
    for row in inside.index[:: len(inside) // 3]:
        x, y = store.table["x"][row], store.table["y"][row]
        assert (store.arrays["he"][row] == image[y : y + 32, x : x + 32]).all()
        low = averages(coarse, x / 3, y / 3, 8, 4 / 3)
        assert np.abs(store.arrays["low-power"][row] - low).max() < 0.51
        wide = image[y - 16 : y + 48, x - 16 : x + 48].reshape(32, 2, 32, 2, 3).mean((1, 3))
        assert np.abs(store.arrays["context"][row] - wide).max() < 0.51


def test_the_preview_shows_tissue_and_tiles(slides: list[Path], tmp_path: Path) -> None:
    assert tile(slides[:1], tmp_path / "store") == 0
    picture = np.asarray(Image.open(tmp_path / "store/slides/a.png")).astype(int)
    red = (np.abs(picture - (230, 92, 92)) < 8).all(-1)
    positions = np.argwhere(red) / picture.shape[:2]
    assert red.sum() > 1000
    assert (positions[:, 0] < 0.72).all()  # the tissue is in the upper part, ink in the lower


def test_annotations_label_tiles(
    slides: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "annotations"
    for name in "ab":
        annotate(
            folder,
            name,
            ("tumour", 0, 256, 352, 1024),
            ("stroma", 352, 256, 800, 450),
            ("Ignore*", 0, 0, 1024, 256),
        )
    assert tile(slides, tmp_path / "store", "--annotations", str(folder)) == 0
    store = Store.open(tmp_path / "store")
    assert store.classes == ("stroma", "tumour")
    table = store.table
    assert (table["y"] >= 240).all()
    assert ((table["x"] + 16 < 352) == (table["label"] == "tumour")).all()
    assert "x tile that no annotation covers" in capsys.readouterr().out


def test_unlabelled_option_keeps_tiles_without_annotation(
    slides: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "annotations"
    regions = [("tumour", 0, 256, 160, 450), ("stroma", 160, 256, 352, 450)]
    annotate(folder, "a", *regions, ("Ignore*", 352, 256, 800, 450))
    assert tile(slides, tmp_path / "all") == 0
    all_tiles = Store.open(tmp_path / "all").table.set_index("id")
    options = ["--annotations", str(folder), "--unlabelled", "--split", "test"]
    assert tile(slides, tmp_path / "store", *options) == 0
    assert "x tile to be ignored" in capsys.readouterr().out
    table = Store.open(tmp_path / "store").table.set_index("id")
    assert set(table["label"]) == {"tumour", "stroma", "unlabelled"}
    assert set(table.loc[table["group"] == "b", "label"]) == {"unlabelled"}
    ignored = all_tiles.loc[all_tiles.index.difference(table.index)]
    assert len(ignored)
    assert set(ignored["group"]) == {"a"}
    assert ignored["x"].between(352 - 16, 800).all()
    assert ignored["y"].between(256 - 16, 450).all()
    assert tile(slides, tmp_path / "other", "--unlabelled") == 2
    assert "--unlabelled is for slides with --annotations" in capsys.readouterr().err


def test_annotations_use_qupath_coordinates(
    slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Slide, "origin", (352, 0))  # as of a MIRAX slide
    annotate(tmp_path, "a", ("tumour", 0, 256, 160, 450), ("stroma", 160, 256, 448, 450))
    assert tile(slides[:1], tmp_path / "store", "--annotations", str(tmp_path)) == 0
    table = Store.open(tmp_path / "store").table
    assert (table["x"] >= 352 - 16).all()
    assert ((table["x"] + 16 < 352 + 160) == (table["label"] == "tumour")).all()


def test_unusable_slides_are_rejected_and_others_tiled(slides: list[Path], tmp_path: Path) -> None:
    empty = write_ome(tmp_path / "empty.ome.tif", drawn(1024)[800:], um_per_px=4.0)
    scaleless = write_ome(tmp_path / "scaleless.ome.tif", drawn(256), um_per_px=None)
    coarse = write_ome(tmp_path / "coarse.ome.tif", drawn(256), um_per_px=8.0)
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"nothing")
    assert tile([*slides, empty, scaleless, coarse, broken], tmp_path / "store") == 0
    rejected = (tmp_path / "store/rejected.csv").read_text()
    for message in (
        "no tissue: no tile of empty.ome.tif has 50% tissue; lower --tissue",
        "magnification unknown: ",
        "does not state its µm per pixel; give it with --um-per-px",
        "too coarse: coarse.ome.tif has 8 µm per px at best, coarser than 4; give --mpp 8 or more",
        "unreadable slide: ",
    ):
        assert message in rejected
    assert set(Store.open(tmp_path / "store").table["group"]) == {"a", "b"}


def test_single_slide_without_scale_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = write_ome(tmp_path / "a.ome.tif", drawn(1024), um_per_px=None)
    assert tile([slide], tmp_path / "store") == 2
    assert "No slide can be used; the reason is 'magnification" in (err := capsys.readouterr().err)
    assert "give it with --um-per-px" in err
    assert tile([slide], tmp_path / "store", "--annotations", str(tmp_path / "none")) == 2
    assert "There is no folder" in capsys.readouterr().err
    assert tile([slide], tmp_path / "store", "--um-per-px", "4") == 0


def test_damaged_tiles_are_rejected_by_position(slides: list[Path], tmp_path: Path) -> None:
    import tifffile

    with tifffile.TiffFile(slides[1]) as file:
        page = file.pages.first
        offset, count = page.dataoffsets[5], page.databytecounts[5]  # x and y of 256 to 512
    content = bytearray(slides[1].read_bytes())
    content[offset : offset + count] = b"\0" * count
    slides[1].write_bytes(content)
    assert tile(slides, tmp_path / "store") == 0
    rejected = (tmp_path / "store/rejected.csv").read_text().splitlines()[1:]
    assert len(rejected) == 64
    assert all("damaged: the slide cannot be read at x" in line for line in rejected)
    assert (Store.open(tmp_path / "store").table["group"] == "b").sum() > 50


def test_finished_work_is_not_repeated(
    slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = (*slides, tmp_path / "store")
    config = TileConfig(paths=paths, mpp=4, size=32, workers=1)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("morefromless.ingest.Shards.write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ingest(Tiles(config), tmp_path / "store", progress=False)
    assert (tmp_path / "store.partial/slides/a.png").exists()
    monkeypatch.setattr("morefromless.ingest.tiling.find_tissue", interrupt)
    report = ingest(Tiles(config), tmp_path / "store", progress=False)
    assert not report.already_existed
    assert not (tmp_path / "store.partial").exists()
    assert ingest(Tiles(config), tmp_path / "store", progress=False).already_existed
    other_config = TileConfig(paths=paths, mpp=8, size=32, workers=1)
    with pytest.raises(DataError, match="was not made from these slides with these options"):
        Tiles(other_config).items()


def test_a_store_has_no_surveys_of_an_earlier_choice_of_slides(
    slides: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    store = tmp_path / "store"
    with monkeypatch.context() as patch:
        patch.setattr("morefromless.ingest.survey", interrupt)
        assert tile(slides, store) == 130
    work = tmp_path / "store.partial/slides"
    assert {path.name for path in work.glob("*.png")} == {"a.png", "b.png"}
    assert tile(slides, store, "--mpp", "1") == 2
    expected = "None of the 2 slides can be used; the most frequent reason, for 2, is 'too coarse"
    assert expected in capsys.readouterr().err
    assert not list(work.glob("*.png"))  # they would show other tiles
    assert tile(slides[:1], store) == 0
    assert {path.name for path in (store / "slides").iterdir()} == {"a.json", "a.png"}


def test_kill_between_the_last_two_renames_is_repaired(
    slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TileConfig(paths=(*slides, tmp_path / "store"), mpp=4, size=32, workers=1)
    rename = Path.rename

    def interrupt_rename(path: Path, target: Path) -> Path:
        if target == config.store:
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupt_rename)
        with pytest.raises(KeyboardInterrupt):
            ingest(Tiles(config), config.store, progress=False)
    assert (tmp_path / "store.partial/store/slides/a.png").exists()
    assert not ingest(Tiles(config), config.store, progress=False).already_existed
    assert sorted(path.name for path in (config.store / "slides").glob("*.png")) == [
        "a.png",
        "b.png",
    ]
    assert not (tmp_path / "store.partial").exists()


@pytest.mark.parametrize(("slide", "part"), [("a/1.dcm", "a/2.dcm"), ("a.mrxs", "a/Data0.dat")])
def test_fingerprint_covers_every_file_of_a_slide(tmp_path: Path, slide: str, part: str) -> None:
    (tmp_path / "a").mkdir()
    for name in (slide, part):
        (tmp_path / name).write_bytes(b"half")
    config = TileConfig(paths=(tmp_path / slide, tmp_path / "store"))
    assert tmp_path / part in Tiles(config).files()
    before = fingerprint(tmp_path / slide, "a", config)
    (tmp_path / part).write_bytes(b"the whole")
    assert fingerprint(tmp_path / slide, "a", config) != before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"low_power": 12.0}, "10.67 px, which is not a whole number; give 8 or 16"),
        ({"low_power": 8.0, "size": 45}, "22.5 px, which is not a whole number; give 12 or 20"),
        ({"context": 2.0}, "give more µm per pixel than --mpp"),
        ({"paths": (Path("a.svs"),)}, "needs a slide and a store"),
    ],
)
def test_invalid_options_are_refused(words: dict[str, object], message: str) -> None:
    options = {"paths": (Path("a.svs"), Path("store")), "mpp": 4.0, "size": 32, **words}
    with pytest.raises(ConfigError, match=message):
        TileConfig(**options)  # type: ignore[arg-type]


def test_ingest_of_a_slide_suggests_mfl_tile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.svs").touch()
    assert run(["ingest", str(tmp_path / "a.svs"), str(tmp_path / "store")]) == 2
    assert f"is a whole slide; cut it into tiles with mfl tile {tmp_path}/a.svs STORE" in (
        capsys.readouterr().err
    )


def test_real_slides_are_tiled(tmp_path: Path) -> None:
    """One slide states its scale; for the other one, 0.5 µm per px is assumed."""
    svs, tif = (real("wsi") / name for name in ("cmu-1-small-region.svs", "kidney-48-5.tif"))
    config = TileConfig(
        paths=(svs, tif, tmp_path / "store"),
        size=64,
        um_per_px=0.5,
        low_power=2,
        tissue=0.3,
        workers=1,
    )
    report = ingest(Tiles(config), tmp_path / "store", progress=False)
    assert dict(report.store.table["group"].value_counts()) == {svs.stem: 588, tif.stem: 1}
    store, slide = report.store, open_slide(svs)
    x, y = store.table[["x", "y"]].iloc[0]
    assert (store.arrays["he"][0] == slide.read(x, y, 64, 64, 0.5)).all()
    assert store.arrays["low-power"].shape == (589, 16, 16, 3)
