"""HoVer-Net's JSON: contours through pixel centres, in the file's order."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morefromless import nuclei_formats
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat
from morefromless.nuclei_formats.hovernet_json import HovernetJson
from morefromless.specs import build

NUCLEI: dict[str, Any] = {
    "7": {
        "bbox": [[0, 0], [2, 3]],
        "centroid": [1, 0.5],
        "contour": [[0, 0], [0, 1], [2, 1], [2, 0]],
        "type_prob": 0.9,
        "type": 2,
    },
    "3": {
        "bbox": [[0, 3], [1, 4]],
        "centroid": [3, 0],
        "contour": [[3, 0]],
        "type_prob": None,
        "type": None,
    },
}


def write_json(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("content", [{"mag": None, "nuc": NUCLEI}, {"nuc": NUCLEI}, NUCLEI])
def test_nuclei_are_read_in_the_order_of_the_file(tmp_path: Path, content: Any) -> None:
    path = write_json(tmp_path / "a.json", content)
    assert HovernetJson.recognises(path)
    result = HovernetJson().read(path, (3, 4))
    assert result.instances.tolist() == [[1, 1, 1, 2], [1, 1, 1, 0], [0] * 4]
    assert list(result.types.items()) == [(1, 2), (2, None)]


def test_no_nuclei_are_an_empty_map(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"mag": None, "nuc": {}})
    assert HovernetJson.recognises(path)
    result = HovernetJson().read(path, (3, 4))
    assert not result.instances.any()
    assert not result.types


def test_magnification_of_file_and_images_must_match(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"mag": 40, "nuc": NUCLEI})
    assert HovernetJson.recognises(path)
    matching = build("hovernet-json:mag=40", nuclei_formats, NucleiFormat)
    np.testing.assert_array_equal(matching.read(path, (3, 4)).instances[0], [1, 1, 1, 2])
    with pytest.raises(UnreadablePatch, match=r"magnification unknown: .* hovernet-json:mag=40"):
        HovernetJson().read(path, (3, 4))
    with pytest.raises(
        UnreadablePatch, match=r"another magnification: .* mag 40, the images at 20"
    ):
        HovernetJson(mag=20).read(path, (3, 4))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"type": "FeatureCollection", "features": []}',
        '{"nuclei": {"1": 2}}',
        '[{"type": "Feature", "properties": {"nuc": 1}}]',
        "\x00\xff",
    ],
)
def test_only_hovernet_json_is_recognised(tmp_path: Path, content: str) -> None:
    assert not HovernetJson.recognises(write_json(tmp_path / "a.json", content))
    assert not HovernetJson.recognises(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "empty file: a.json has 0 bytes"),
        ("{", "unreadable: a.json is not valid JSON"),
        ("[" * 100_000, "unreadable: a.json is not valid JSON"),
        ("\ud800".encode("utf-8", "surrogatepass"), "unreadable: a.json is not valid JSON"),
        ('{"nuc": {"1": {}, "1": {}}}', "repeated key: '1' occurs twice"),
        ([NUCLEI], "unreadable: a.json has no mapping nuc"),
        ({"nuc": [1]}, "unreadable: a.json has no mapping nuc"),
        ({"nuc": {"1": {"type": 1}}}, "broken polygon: .* nucleus 1 is not a list"),
        ({"nuc": {"1": {"contour": [[0, "x"]], "type": 1}}}, "broken polygon: .* is not a list"),
        (
            {"nuc": {"1": {"contour": [[0, float("nan")]], "type": 1}}},
            "broken polygon: .* not finite",
        ),
        ({"nuc": {"1": {"contour": [[0, 50]], "type": 1}}}, "out of bounds: nucleus 1 reaches 48 "),
        (
            {"nuc": {"1": {"contour": [[0, 0]], "type": [1]}}},
            "odd type: nucleus 1 has the type 'a list'",
        ),
        ({"nuc": {"1": NUCLEI["7"], "2": NUCLEI["7"]}}, "overlapping nuclei: nucleus 2 loses 6 of"),
    ],
)
def test_unusable_content_is_refused_in_one_sentence(
    tmp_path: Path, content: Any, reason: str
) -> None:
    path = tmp_path / "a.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write_json(path, content)
    with pytest.raises(UnreadablePatch, match=reason) as error:
        HovernetJson().read(path, (3, 4))
    assert "\n" not in str(error.value)


def test_missing_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePatch, match=r"no segmentation: there is no a\.json"):
        HovernetJson().read(tmp_path / "a.json", (3, 4))
