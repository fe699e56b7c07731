"""SpatialData folders: counts and patches are read, for all coordinate systems."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import zarr

from morefromless.data.sections import find_sections
from morefromless.data.spatial_zarr import _matrix, read_spatialdata
from morefromless.errors import DataError
from morefromless.sources.spatial import Spatial
from tests.data.spatial_zarr import CYX, XY, transformation, write_spatialdata


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_spots_are_patches_of_the_largest_image(tmp_path: Path, zarr_format: Literal[2, 3]) -> None:
    sections = {n: write_spatialdata(tmp_path / f"T{n}.zarr", n, zarr_format) for n in (0, 2)}
    counts, image = sections[0]
    table, largest = find_sections(tmp_path)["T0"]
    assert largest == tmp_path / "T0.zarr/images/hires"
    section = read_spatialdata(table, largest)
    np.testing.assert_array_equal(section.values.toarray(), counts)
    source = Spatial(str(tmp_path), test="T2", patch=16, genes=5)
    items = source.items()
    assert {(item.group, item.split) for item in items} == {("P0", "train"), ("P1", "test")}
    (spot,) = (item for item in items if item.id == "T0/0-007-1")
    assert spot.label == "stroma"
    np.testing.assert_array_equal(source.read(spot)["he"], image[52:68, 52:68])


def test_transformations_act_on_x_and_y() -> None:
    scaled = transformation(CYX, "global", type="scale", scale=[1, 3, 2])
    translated = transformation(CYX, "global", type="translation", translation=[0, 5, 7])
    affine = {
        **transformation(XY, "global", type="affine", affine=[[0, 1, 4], [1, 0, 6]]),
        "output": {"name": "global", "axes": [{"name": "y"}, {"name": "x"}]},
    }
    sequence = transformation(CYX, "global", type="sequence", transformations=[scaled, translated])
    point = np.array([10.0, 100.0, 1.0])
    assert (_matrix(scaled, ()) @ point).tolist() == [20, 300, 1]
    assert (_matrix(sequence, ()) @ point).tolist() == [27, 305, 1]
    assert (_matrix(affine, ()) @ point).tolist() == [10 + 6, 100 + 4, 1]


def _edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))


def _two_sections(folder: Path) -> None:
    group = zarr.open_group(folder / "tables/table/uns/spatialdata_attrs", mode="r+")
    del group["region"]
    group.create_array("region", data=np.array(["a", "b"]))
    group["region"].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})


def _pickled(folder: Path) -> None:
    def change(facts: dict[str, Any]) -> None:
        facts["codecs"].append({"name": "numcodecs.pickle", "configuration": {}})

    _edit_json(folder / "images/hires/0/zarr.json", change)


def _huge(folder: Path) -> None:
    _edit_json(
        folder / "images/hires/0/zarr.json", lambda facts: facts.update(shape=[3, 10**6, 10**6])
    )


def _no_common_system(folder: Path) -> None:
    def change(facts: dict[str, Any]) -> None:
        del facts["attributes"]["coordinateTransformations"][1]

    _edit_json(folder / "shapes/spots/zarr.json", change)


def _no_shapes(folder: Path) -> None:
    shutil.rmtree(folder / "shapes")


def _truncated(folder: Path) -> None:
    path = folder / "shapes/spots/shapes.parquet"
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_two_sections, "The table of T1.zarr has 2 sections; write each"),
        (_pickled, "packs images/hires/0 with the codec numcodecs.pickle; write it with another"),
        (_huge, "states 3,000,000,000,000 values for images/hires/0, but stores only"),
        (_no_common_system, "has no common coordinate system for spots and hires"),
        (_no_shapes, r"has no shapes/spots/shapes.parquet"),
        (_truncated, "is not a valid SpatialData folder; download or write it again"),
    ],
)
def test_faults_are_refused_in_one_sentence(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    write_spatialdata(tmp_path / "T1.zarr", 1)
    spoil(tmp_path / "T1.zarr")
    with pytest.raises(DataError, match=message):
        read_spatialdata(tmp_path / "T1.zarr", tmp_path / "T1.zarr/images/hires")
