"""Annotation files: compressed or plain, without exhausting the memory."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import shapely

from morefromless import documents
from morefromless.data.annotations import read_annotations
from morefromless.errors import UnreadablePatch

FEATURE = {
    "type": "Feature",
    "geometry": json.loads(shapely.to_geojson(shapely.box(0, 0, 4, 3))),
    "properties": {"classification": {"name": "tumour"}},
}


def test_compressed_annotations_equal_plain_ones(tmp_path: Path) -> None:
    content = json.dumps([FEATURE]).encode()
    for name, data in (("a.geojson", content), ("a.geojson.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(data)
        annotations = read_annotations(tmp_path / name)
        assert annotations.classes == ("tumour",)
        assert shapely.area(annotations.regions).tolist() == [12.0]


@pytest.mark.parametrize(
    ("changes", "classes"),
    [
        ({"properties": {"classification": {"names": ["tumour", "invasive"]}}}, "tumour: invasive"),
        ({"properties": {"classification": '{"name": "stroma", "color": [1, 2, 3]}'}}, "stroma"),
        ({"properties": {"classification": "stroma"}}, "stroma"),
        ({"id": "PathAnnotationObject"}, "tumour"),
        ({"id": "PathDetectionObject"}, None),
        ({"properties": {**FEATURE["properties"], "object_type": "detection"}}, None),
    ],
)
def test_kinds_and_classes_are_read_in_every_spelling(
    tmp_path: Path, changes: dict[str, object], classes: str | None
) -> None:
    other_feature = FEATURE | {"properties": {"classification": {"name": "other"}}}
    (tmp_path / "a.geojson").write_text(json.dumps([FEATURE | changes, other_feature]))
    read_classes = read_annotations(tmp_path / "a.geojson").classes
    assert read_classes == (("other",) if classes is None else (classes, "other"))


def test_empty_export_has_no_regions(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    assert read_annotations(path).labels(np.array([[0, 0], [8, 8]]), 8) == [None, None]


def test_compressed_annotations_have_a_size_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.geojson.gz"
    monkeypatch.setattr(documents, "MAX_FILE_BYTES", 2**20)
    path.write_bytes(gzip.compress(b" " * 2**21))
    with pytest.raises(UnreadablePatch, match=r"too large: a.geojson.gz has more than"):
        read_annotations(path)
    path.write_bytes(gzip.compress(b" " * 2**10)[:-4])
    with pytest.raises(UnreadablePatch, match="damaged annotations"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("geometry", "reason"),
    [
        ({"type": "GeometryCollection", "geometries": []}, "no region with a class"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1e300, 0], [0, 1e300], [0, 0]]]}, "broken"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 0]]]}, "broken outline"),
        ({"type": "Polygon", "coordinates": []}, "no region with a class"),
        ({"type": ["Polygon"]}, "no region with a class"),
        ("Polygon", "no region with a class"),
    ],
)
def test_invalid_geometries_are_refused(tmp_path: Path, geometry: object, reason: str) -> None:
    for _ in range(400):
        if isinstance(geometry, dict) and "geometries" in geometry:
            geometry = {"type": "GeometryCollection", "geometries": [geometry]}
    (tmp_path / "a.geojson").write_text(json.dumps({**FEATURE, "geometry": geometry}))
    with pytest.raises(UnreadablePatch, match=reason):
        read_annotations(tmp_path / "a.geojson")
