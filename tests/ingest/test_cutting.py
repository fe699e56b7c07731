"""Tiles cut to patches: nuclei are counted once, and the patches of a tile share a split."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from morefromless.catalogue import public_set
from morefromless.data.geojson import feature_collection
from morefromless.data.labels import UNLABELLED
from morefromless.data.nuclei import NUCLEI_ARRAY, Nuclei
from morefromless.data.schemes import PANNUKE
from morefromless.data.store import Store
from morefromless.errors import ConfigError, UnreadablePatch
from morefromless.ingest import ingest, open_source
from morefromless.ingest.cutting import Cut
from morefromless.nuclei_export import export_geojson
from morefromless.pairs import build_modality as nuclei_modality
from morefromless.sources import Datasheet, Item, Source
from tests.real import real


class Tiles(Source):
    """Random tiles of 40 x 50 px with nuclei of 4 x 4 px; the third cannot be read."""

    def __init__(self, count: int = 6) -> None:
        self.count = count
        self.readings: list[str] = []

    def datasheet(self) -> Datasheet:
        return Datasheet(title="tiles", um_per_px=0.5, scheme=PANNUKE)

    def items(self) -> list[Item]:
        return [Item(id=f"t{i}", label=UNLABELLED, origin=f"tile {i}") for i in range(self.count)]

    def shape(self, item: Item) -> tuple[int, int]:  # noqa: ARG002
        return 40, 50

    def read(self, item: Item) -> dict[str, npt.NDArray[np.uint8]]:
        self.readings.append(item.id)
        if item.id == "t2":
            raise UnreadablePatch("unreadable: as drawn")
        image, nuclei = self.draw_tile(item.id)
        return {"he": image, NUCLEI_ARRAY: nuclei.encode()}

    @staticmethod
    def draw_tile(name: str) -> tuple[npt.NDArray[np.uint8], Nuclei]:
        rng = np.random.default_rng(int(name[1:]))
        instances = np.zeros((40, 50), np.int32)
        for number in range(1, 13):
            y, x = rng.integers(0, 36), rng.integers(0, 46)
            instances[y : y + 4, x : x + 4] = number
        types = {int(k): int(k) % 6 for k in np.unique(instances) if k}
        return rng.integers(0, 256, (40, 50, 3), np.uint8), Nuclei.typed(instances, types, PANNUKE)


def test_a_tile_is_read_once_for_all_its_patches(tmp_path: Path) -> None:
    tiles = Tiles()
    ingest(Cut(tiles, 10), tmp_path / "store", progress=False, workers=1)
    assert tiles.readings.count("t0") <= 2  # once to learn the sizes, once for its twenty patches


def test_patches_match_the_tile_and_nuclei_are_counted_once(tmp_path: Path) -> None:
    report = ingest(Cut(Tiles(), 10), tmp_path / "store", progress=False, workers=2)
    store = Store.open(tmp_path / "store")
    assert report.accepted == 5 * 20
    assert report.rejected == {"unreadable": 20}
    nuclei = store.nuclei
    for tile in ("t0", "t1", "t3"):
        image, tile_nuclei = Tiles.draw_tile(tile)
        rows = store.table.index[store.table["group"] == tile]
        for row in rows:
            x, y = (int(part[1:]) for part in store.table["id"][row].split("_")[1:])
            np.testing.assert_array_equal(store.array("he")[row], image[y : y + 10, x : x + 10])
            stored = Nuclei.decode(np.asarray(store.array(NUCLEI_ARRAY)[row]))
            np.testing.assert_array_equal(
                stored.instances > 0, tile_nuclei.instances[y : y + 10, x : x + 10] > 0
            )
        nuclei_here = nuclei[nuclei["patch"].isin(rows)]
        counts = nuclei_here[nuclei_here["counted"]]["type"].value_counts().sort_index()
        pd.testing.assert_series_equal(
            counts,
            pd.Series(tile_nuclei.types).value_counts().sort_index(),
            check_names=False,
            check_index_type=False,
        )
        assert nuclei_here["area"].sum() == tile_nuclei.areas.sum()


def test_patches_of_a_tile_share_a_split(tmp_path: Path) -> None:
    ingest(Cut(Tiles(), 10), tmp_path / "store", progress=False, workers=1)
    store = Store.open(tmp_path / "store")
    assert store.meta.split_rule == "group"
    assert (store.table.groupby("group")["split"].nunique() == 1).all()


def test_incomplete_patches_at_the_border_are_skipped() -> None:
    ids = [item.id for item in Cut(Tiles(1), 20).items()]
    assert ids == ["t0_x0_y0", "t0_x20_y0", "t0_x0_y20", "t0_x20_y20"]


def test_a_tile_smaller_than_the_cut_is_rejected() -> None:
    cut = Cut(Tiles(1), 45)
    (item,) = cut.items()
    with pytest.raises(UnreadablePatch, match="smaller than the cut: 45 px"):
        cut.read(item)
    with pytest.raises(ConfigError, match="--cut 4 is too small"):
        Cut(Tiles(), 4)


def test_real_tiles_have_the_published_nuclei_counts(tmp_path: Path) -> None:
    source = open_source(f"consep:{real('consep')}", cut=250)
    report = ingest(source, tmp_path / "store", progress=False, workers=1)
    assert (report.accepted, report.rejected.total()) == (41 * 16, 0)
    assert "24,332 nuclei (932 Miscellaneous" in str(report)
    sheet = public_set("consep")
    assert "24,332 nuclei, 13 more" in sheet.pitfalls[0]
    assert "24,319 nuclei as published" in sheet.description
    store = Store.open(tmp_path / "store")
    counted = store.nuclei[store.nuclei["counted"]]
    for split, counts in {
        "train": [371, 3941, 5537, 5706],
        "test": [561, 1638, 3214, 3364],
    }.items():
        in_split = counted[counted["patch"].isin(store.indices(split))]
        assert np.bincount(in_split["type"], minlength=5).tolist() == [0, *counts]
    # All patches of a tile are in the split that the data set defines.
    assert store.table.groupby("group")["split"].nunique().eq(1).all()


@pytest.mark.parametrize("resize", [None, 20])
def test_nuclei_are_exported_whole_in_tile_coordinates(tmp_path: Path, resize: int | None) -> None:
    ingest(Cut(Tiles(2), 10), tmp_path / "store", progress=False, workers=1, resize=resize)
    out = tmp_path / "out"
    assert export_geojson(Store.open(tmp_path / "store"), out) == 2
    for tile in ("t0", "t1"):
        tile_nuclei = Nuclei.decode(Tiles.draw_tile(tile)[1].encode())
        expected = feature_collection(tile_nuclei, PANNUKE, name=tile)
        assert json.loads((out / f"{tile}.geojson").read_text()) == expected
    colours = nuclei_modality(f"nuclei:colour,types={len(PANNUKE.types)}")._table()  # type: ignore[attr-defined]
    for feature in expected["features"]:
        classification = feature["properties"]["classification"]
        code = PANNUKE.types.index(classification["name"])
        np.testing.assert_allclose(
            np.array(classification["color"]) / 255, colours[code], atol=1e-6
        )
