"""GeoJSON as written by QuPath and others. tests/data tests files of this program."""

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import TypedInstances
from morefromless.nuclei_formats.geojson import Geojson

SHAPE = (6, 8)


def box(x: float, y: float, width: float, height: float) -> list[list[float]]:
    return [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]


def polygon(*rings: list, **extra: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings), **extra}


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def read(tmp_path: Path, content: Any, **options: Any) -> TypedInstances:
    path = tmp_path / "a.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return Geojson(**options).read(path, SHAPE)


ONE = feature(polygon(box(1, 1, 2, 2)), classification={"name": "Tumor", "color": [200, 0, 0]})
TWO = feature(polygon(box(4, 0, 4, 4), box(5, 1, 1, 1)), objectType="detection")


@pytest.mark.parametrize(
    "content", [{"type": "FeatureCollection", "features": [ONE, TWO]}, [ONE, TWO]]
)
def test_each_feature_is_a_nucleus(tmp_path: Path, content: Any) -> None:
    result = read(tmp_path, content)
    assert result.instances.tolist() == [
        [0, 0, 0, 0, 2, 2, 2, 2],
        [0, 1, 1, 0, 2, 0, 2, 2],
        [0, 1, 1, 0, 2, 2, 2, 2],
        [0, 0, 0, 0, 2, 2, 2, 2],
        [0] * 8,
        [0] * 8,
    ]
    assert list(result.types.items()) == [(1, "Tumor"), (2, None)]
    assert read(tmp_path, "\ufeff" + json.dumps(ONE)).instances.sum() == 4


def test_no_features_are_no_nuclei(tmp_path: Path) -> None:
    for content in ({"type": "FeatureCollection", "features": []}, []):
        result = read(tmp_path, content)
        assert result.instances.shape == SHAPE
        assert not result.instances.any()
        assert not result.types


@pytest.mark.parametrize(
    ("properties", "kind"),
    [
        ({"classification": {"name": "Immune cells", "colorRGB": -3670016}}, "Immune cells"),
        ({"classification": {"names": ["Tumor", "Positive"]}}, "Tumor: Positive"),
        ({"classification": "Tumor"}, "Tumor"),
        ({"classification": None, "class": 3}, 3),
        ({"type": "Dead", "name": "cell 17"}, "Dead"),
        ({"type": "detection", "name": "Dead"}, "Dead"),
        ({"type": 0}, 0),
        ({"isLocked": True}, None),
        ({}, None),
    ],
)
def test_type_is_read_from_the_keys_of_all_programs(
    tmp_path: Path, properties: Any, kind: Any
) -> None:
    assert read(tmp_path, [feature(polygon(box(1, 1, 2, 2)), **properties)]).types == {1: kind}


def test_cell_is_read_as_its_nucleus(tmp_path: Path) -> None:
    cell = {
        **feature(polygon(box(0, 0, 5, 5)), objectType="cell"),
        "nucleusGeometry": polygon(box(1, 1, 2, 2)),
    }
    assert (read(tmp_path, [cell]).instances > 0).sum() == 4
    without_nucleus = [
        {**cell, "nucleusGeometry": None},
        feature(polygon(box(0, 0, 5, 5)), objectType="cell"),
    ]
    result = read(tmp_path, [cell, *without_nucleus])
    assert (result.instances > 0).sum() == 4
    assert result.skipped == {"cell without nucleus": 2}
    with pytest.raises(UnreadablePatch, match=r"no nucleus: all 2 cells have no nucleusGeometry"):
        read(tmp_path, without_nucleus)


REGION = feature(polygon(box(0, 0, 8, 6)), classification={"name": "Tumor"})
SPOT = feature({"type": "Point", "coordinates": [2, 2]}, objectType="annotation", name="landmark")
NUCLEUS = feature(polygon(box(1, 1, 2, 2)), objectType="detection", classification={"name": "A"})


@pytest.mark.parametrize(
    "kind",
    [
        {"properties": {"objectType": "annotation", "classification": {"name": "Tumor"}}},
        {"properties": {"objectType": "tile"}},
        {"properties": {"object_type": "tma_core"}},
        {"properties": {"objectType": "tmaCore"}},
        {"properties": {"type": "annotation"}},
        {"properties": {}, "id": "PathAnnotationObject"},
        {"properties": {}, "id": "PathTileObject"},
        {"properties": {}, "id": "TMACoreObject"},
        {"properties": {}, "objectType": "annotation"},
    ],
)
def test_regions_and_points_are_skipped_in_any_order(tmp_path: Path, kind: dict[str, Any]) -> None:
    objects = [{**REGION, **kind}, NUCLEUS, SPOT]
    for order in itertools.permutations(objects):
        result = read(tmp_path, list(order))
        assert result.types == {1: "A"}
        assert (result.instances > 0).sum() == 4
        assert sum(result.skipped.values()) == 2


@pytest.mark.parametrize(
    "kind", [{"id": "PathTileObject"}, {"properties": {"object_type": "tile"}}]
)
def test_older_spellings_of_tiles_are_recognised(tmp_path: Path, kind: dict[str, Any]) -> None:
    with pytest.raises(UnreadablePatch, match="not a nucleus: feature 1 is a QuPath "):
        read(tmp_path, [{**REGION, **kind}])


def test_only_keys_that_are_read_must_be_unique(tmp_path: Path) -> None:
    text = json.dumps([NUCLEUS])
    repeated = text.replace('"objectType"', '"metadata": {"a": 1}, "metadata": {}, "objectType"')
    assert read(tmp_path, repeated).types == {1: "A"}
    repeated = text.replace('"objectType"', '"objectType": "tile", "objectType"')
    with pytest.raises(UnreadablePatch, match="repeated key: 'objectType' occurs twice"):
        read(tmp_path, repeated)


def test_a_classification_within_a_text_is_parsed(tmp_path: Path) -> None:
    kind = '{ "name": "Tumor", "color": [ 200, 0, 0 ] }'
    result = read(tmp_path, [feature(polygon(box(1, 1, 2, 2)), classification=kind)])
    assert result.types == {1: "Tumor"}


KINDS = st.sampled_from(["detection", "cell", "bare cell", "annotation", "tile", "point", None])


@given(st.lists(KINDS, min_size=1, max_size=8), st.randoms())
def test_nuclei_are_the_same_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str | None], order: random.Random
) -> None:
    """Objects of all kinds at different places; their order must not matter."""
    objects = []
    for x, kind in enumerate(kinds):
        shape = polygon(box(x, 0, 1, 1))
        content = feature(shape, classification={"name": f"type {x}"})
        if kind == "point":
            content["geometry"] = {"type": "Point", "coordinates": [x, 0]}
        if kind is not None:
            object_type = {"bare cell": "cell", "point": "annotation"}.get(kind, kind)
            content["properties"]["objectType"] = object_type
        if kind == "cell":
            content |= {"geometry": polygon(box(0, 0, 8, 6)), "nucleusGeometry": shape}
        objects.append(content)
    positions = list(range(len(objects)))
    order.shuffle(positions)
    results = []
    for ordered in (objects, [objects[k] for k in positions]):
        try:
            result = read(tmp_path_factory.getbasetemp(), ordered)
        except UnreadablePatch as error:
            results.append(str(error).partition(":")[0])
        else:
            pixels = {kind: result.instances == number for number, kind in result.types.items()}
            results.append(({k: v.tobytes() for k, v in pixels.items()}, result.skipped))
    detected = {"detection", "cell", "bare cell"} & set(kinds)
    nuclei = {"detection", "cell", None} if detected else {"annotation", None}
    if isinstance(results[0], str):
        assert isinstance(results[1], str)
        assert not detected or not nuclei & set(kinds)
    else:
        assert results[0] == results[1]
        assert len(results[0][0]) == sum(kind in nuclei for kind in kinds)


def tiatoolbox_nucleus(x: int, side: int, box: Any, **properties: Any) -> dict[str, Any]:
    """A nucleus of side x side px as written by TIAToolbox, with any `box`."""
    corners = [[x, 1], [x, side], [x + side - 1, side], [x + side - 1, 1], [x, 1]]
    return feature(polygon(corners), box=box, centroid=[x, 2.5], prob=0.9, type="A", **properties)


def test_boxes_identify_outlines_through_pixel_centres(tmp_path: Path) -> None:
    content = [tiatoolbox_nucleus(1, 3, [1, 1, 4, 4]), tiatoolbox_nucleus(5, 2, "[ 5, 1, 7, 3 ]")]
    result = read(tmp_path, content)
    assert [(result.instances == k).sum() for k in (1, 2)] == [9, 4]
    assert (read(tmp_path, content, convention="edges").instances == 1).sum() == 4
    redrawn = feature(polygon(box(1, 1, 3, 3)), box=[1, 1, 4, 4], type="A")
    assert (read(tmp_path, [redrawn]).instances > 0).sum() == 9
    unclear = feature(polygon(box(1, 1, 3, 3)), centroid=[2, 2], type="A")
    for content in ([unclear], [feature(polygon(box(1, 1, 3, 3)), prob=0.9, type="A")]):
        with pytest.raises(UnreadablePatch, match=r"outlines unclear: .*convention=centres"):
            read(tmp_path, content)
    assert (read(tmp_path, [unclear], convention="edges").instances > 0).sum() == 9


def test_opencv_contours_need_the_convention_centres(tmp_path: Path) -> None:
    corners = [feature(polygon([[1, 1], [1, 3], [3, 3], [3, 1]]), type=1)]
    assert (read(tmp_path, corners).instances > 0).sum() == 4
    assert (read(tmp_path, corners, convention="centres").instances > 0).sum() == 9


def test_parts_are_one_nucleus_or_several(tmp_path: Path) -> None:
    pieces = {"type": "MultiPolygon", "coordinates": [[box(0, 0, 2, 2)], [box(5, 5, 1, 1)]]}
    for content in (
        feature(pieces, type="Dead"),
        feature(pieces, type="Dead", objectType="detection"),
    ):
        result = read(tmp_path, [content, ONE | {"geometry": polygon(box(4, 0, 2, 2))}])
        assert result.types == {1: "Dead", 2: "Tumor"}
        assert (result.instances == 1).sum() == 5
    annotation = [feature(pieces, objectType="annotation", classification={"name": "Dead"})]
    with pytest.raises(UnreadablePatch, match=r"several parts: feature 1 .* geojson:parts=each"):
        read(tmp_path, annotation)
    assert read(tmp_path, annotation, parts="one").types == {1: "Dead"}
    separate = read(tmp_path, annotation, parts="each")
    assert separate.types == {1: "Dead", 2: "Dead"}
    assert [(separate.instances == k).sum() for k in (1, 2)] == [4, 1]


def test_several_planes_are_refused(tmp_path: Path) -> None:
    def at_plane(z: int, t: int = 0, x: int = 0) -> dict[str, Any]:
        return feature(polygon(box(x, 0, 2, 2), plane={"c": -1, "z": z, "t": t}), type=1)

    def at_height(z: float, x: int = 0) -> dict[str, Any]:
        return feature(polygon([[*point, z] for point in box(x, 0, 2, 2)]), type=1)

    assert len(read(tmp_path, [at_plane(2), at_plane(2, x=3)]).types) == 2
    assert len(read(tmp_path, [at_plane(0), feature(polygon(box(3, 0, 2, 2)), type=1)]).types) == 2
    assert len(read(tmp_path, [at_height(1.5), at_height(1.5, x=3)]).types) == 2
    slanted = feature(polygon([[0, 0, 0], [2, 0, 1], [2, 2, 1], [0, 0, 0]]), type=1)
    for several in (
        [at_plane(1), at_plane(2, x=3)],
        [at_plane(1), at_plane(1, t=1, x=3)],
        [at_height(1), at_height(2, x=3)],
        [slanted],
    ):
        with pytest.raises(UnreadablePatch, match=r"several planes: .*; export one plane"):
            read(tmp_path, several)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "empty file: "),
        ("{", "unreadable: a.geojson is not valid JSON"),
        ("[" * 100_000, "unreadable: a.geojson is not valid JSON"),
        ('[{"type": "Feature", "geometry": ' + "[" * 900 + "]" * 900 + "}]", "not a polygon: "),
        ("3", "unreadable: a.geojson is not GeoJSON of Features"),
        ([1], "unreadable: a.geojson is not GeoJSON of Features"),
        (polygon(box(0, 0, 1, 1)), "unreadable: a.geojson is not GeoJSON of Features"),
        ({"type": "FeatureCollection", "features": {"a": 1}}, "unreadable: .* of Features"),
        ([feature(None)], "not a polygon: feature 1 is a feature without geometry"),
        (
            [feature({"type": "LineString", "coordinates": [[0, 0], [1, 1]]})],
            "not a polygon: feature 1 is a LineString; export areas",
        ),
        ([feature({"type": "Point", "coordinates": [0, 0]})], "not a polygon: .* is a Point"),
        (
            [feature(polygon(box(0, 0, 1, 1)), objectType="tmaCore")],
            "not a nucleus: feature 1 is a QuPath tmaCore",
        ),
        ([feature({"type": "Polygon"})], "broken polygon: feature 1 has no list of rings"),
        ([feature({"type": "MultiPolygon", "coordinates": [3]})], "broken polygon: feature 1 has"),
        ([feature({"type": "MultiPolygon", "coordinates": []})], "broken polygon: .* is empty"),
        ([feature(polygon())], "broken polygon: the outline of nucleus 1 is empty"),
        ([feature(polygon([]))], "broken polygon: the outline of nucleus 1 is not a list of x, y"),
        ([feature(polygon([[0, 0], [1, {}], [1, 1]]))], "broken polygon: .* is not a list of x, y"),
        ([feature(polygon([0, 1, 2]))], "broken polygon: .* is not a list of x, y"),
        ([feature(polygon([[0, 0], [1, 0], [1, 1, 1]]))], "broken polygon: |several planes: "),
        ([feature(polygon([[0, 0, []], [1, 0, []], [1, 1, []]]))], "broken polygon: "),
        ([feature(polygon([[0, 0], [2, 2], [2, 0], [0, 2]]))], "broken polygon: .* is not valid"),
        (
            [feature(polygon(box(0, 0, 2, 2)), type={"a": 1})],
            "odd type: nucleus 1 has the type 'a dict'",
        ),
        ([ONE, ONE], "overlapping nuclei: nucleus 2 loses 4 of its 4 px"),
        ([feature(polygon(box(20_000, 31_000, 9, 9)))], "out of bounds: .* 31,003 px outside"),
    ],
)
def test_unusable_content_is_refused_in_one_sentence(
    tmp_path: Path, content: Any, reason: str
) -> None:
    with pytest.raises(UnreadablePatch, match=reason) as error:
        read(tmp_path, content)
    assert "\n" not in str(error.value)


def test_only_geojson_is_recognised(tmp_path: Path) -> None:
    assert Geojson.recognises(tmp_path / "any.geojson")
    path = tmp_path / "a.json"
    for content, expected in (
        (json.dumps([ONE]), True),
        (json.dumps(ONE, indent=2), True),
        ("[]", False),
        ('{"type":"FeatureCollection","features":[]}', True),
        ('{"nuc": {"1": {"type": 1}}}', False),
    ):
        path.write_text(content)
        assert Geojson.recognises(path) is expected
