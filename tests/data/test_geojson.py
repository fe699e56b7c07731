"""Exported GeoJSON is read back with the same nuclei, types and pixels."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from morefromless.data.colours import class_colours, type_colours
from morefromless.data.geojson import feature_collection, write_geojson
from morefromless.data.nuclei import Nuclei
from morefromless.data.schemes import CONIC, PANNUKE
from morefromless.files import StorageError
from morefromless.nuclei_formats.geojson import Geojson

MAPS = hnp.arrays(
    np.int32, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.integers(0, 5)
)


def typed_nuclei(instances: np.ndarray) -> Nuclei:
    ids = [int(k) for k in np.unique(instances) if k]
    return Nuclei.typed(instances, {k: k % len(PANNUKE.types) for k in ids}, PANNUKE)


def write_and_read(nuclei: Nuclei, path: Path) -> Nuclei:
    write_geojson(nuclei, PANNUKE, path)
    result = Geojson().read(path, nuclei.instances.shape)
    return Nuclei.typed(result.instances, result.types, PANNUKE)


@given(MAPS)
def test_round_trip_is_lossless(instances: np.ndarray) -> None:
    """Also if nuclei touch, have holes, are single pixels, in pieces, or at the border."""
    nuclei = typed_nuclei(instances)
    with TemporaryDirectory() as folder:
        result = write_and_read(nuclei, Path(folder) / "x.geojson")
    np.testing.assert_array_equal(result.instances, nuclei.instances)
    np.testing.assert_array_equal(result.types, nuclei.types)
    np.testing.assert_array_equal(result.areas, nuclei.areas)


@given(MAPS)
def test_outlines_are_valid_geometry_and_cover_the_pixels(instances: np.ndarray) -> None:
    nuclei = typed_nuclei(instances)
    features = feature_collection(nuclei, PANNUKE, "a")["features"]
    geometries = [shapely.from_geojson(json.dumps(feature["geometry"])) for feature in features]
    assert all(geometry.is_valid for geometry in geometries)
    assert [geometry.area for geometry in geometries] == nuclei.areas.tolist()


def test_features_follow_the_format_of_qupath() -> None:
    instances = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0], [2, 0, 2]])
    nuclei = Nuclei.typed(instances, {1: "Neoplastic", 2: 4}, PANNUKE)
    content = feature_collection(nuclei, PANNUKE, "a")
    ring, pieces = content["features"]
    assert content["type"] == "FeatureCollection"
    assert (ring["type"], ring["geometry"]["type"]) == ("Feature", "Polygon")
    outer, hole = (sorted(map(tuple, part)) for part in ring["geometry"]["coordinates"])
    assert set(outer) == {(0, 0), (3, 0), (3, 3), (0, 3)}
    assert set(hole) == {(1, 1), (2, 1), (2, 2), (1, 2)}
    assert all(part[0] == part[-1] for part in ring["geometry"]["coordinates"])
    assert pieces["geometry"]["type"] == "MultiPolygon"
    assert ring["properties"] == {
        "objectType": "detection",
        "classification": {"name": "Neoplastic", "color": list(type_colours(6)[1])},
    }
    assert len({UUID(feature["id"]) for feature in content["features"]}) == 2
    assert content == feature_collection(nuclei, PANNUKE, "a")
    other_content = feature_collection(nuclei, PANNUKE, "b")
    assert other_content["features"][0]["id"] != ring["id"]


def test_pieces_counted_in_another_patch_are_marked() -> None:
    nuclei = Nuclei(
        np.array([[1, 2]], np.int32), np.array([1, 2], np.uint8), np.array([True, False])
    )
    first, second = feature_collection(nuclei, PANNUKE, "a")["features"]
    assert "counted" not in first["properties"]
    assert second["properties"]["counted"] is False


def test_an_image_without_nuclei_is_an_empty_collection(tmp_path: Path) -> None:
    result = write_and_read(
        typed_nuclei(np.zeros((3, 4), np.int32)), tmp_path / "new" / "x.geojson"
    )
    assert result.instances.shape == (3, 4)
    assert not len(result.types)


def test_unwritable_path_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot be written"):
        write_geojson(
            typed_nuclei(np.ones((2, 2), np.int32)), CONIC, tmp_path / "file" / "x.geojson"
        )


def test_colours_are_distinct_and_stable() -> None:
    colours = class_colours([str(k) for k in range(40)])
    assert len(set(colours.values())) == 40
    assert class_colours(["0", "1"]).items() <= colours.items()
