"""Points with a type: discs that never overlap."""

from pathlib import Path

import numpy as np
import pytest

from morefromless.errors import ConfigError, UnreadablePatch
from morefromless.nuclei_formats import TypedInstances
from morefromless.nuclei_formats.points import Points


def read(tmp_path: Path, text: str, radius: float = 1.0) -> TypedInstances:
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    return Points(radius).read(path, (5, 7))


@pytest.mark.parametrize(
    "text",
    [
        "x,y,type\n1,1,Dead\n5.9,3.2,2\n",
        "\ufeffType;Y;X\nDead;1.5;1.5\n2.0;3;5\n",
        "x\ty\tname\tcolor\n1\t1\tDead\t-256\n5\t3\t2\t-256\n\n",
        '"Centroid X px","Centroid Y px","Classification"\n1,1,Dead\n5,3,2\n',
    ],
)
def test_points_are_discs_with_a_type(tmp_path: Path, text: str) -> None:
    result = read(tmp_path, text)
    assert result.instances.tolist() == [
        [0, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 2, 0],
        [0, 0, 0, 0, 2, 2, 2],
        [0, 0, 0, 0, 0, 2, 0],
    ]
    assert result.types == {1: "Dead", 2: "2"}


def test_pixel_belongs_to_the_nearest_then_to_the_first_point(tmp_path: Path) -> None:
    for text, row in (
        ("x,y\n5,2\n1,2\n", [2, 2, 2, 1, 1, 1, 1]),
        ("x,y\n1,2\n4,2\n", [1, 1, 1, 2, 2, 2, 2]),
    ):
        result = read(tmp_path, text, radius=3)
        assert result.instances[2].tolist() == row
        assert result.types == {1: None, 2: None}
    assert (read(tmp_path, "x,y\n1,2\n2,2\n", radius=0).instances > 0).sum() == 2
    assert not read(tmp_path, "x,y,type\n").types


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty file: a.csv"),
        ("a,b\n1,2\n", "unreadable: a.csv is not a table of points"),
        ("x,y\n1,b\n", "unreadable: a.csv is not a table of points"),
        ("x,y\n1\n", "unreadable: a.csv is not a table of points"),
        ("x,y\n1,nan\n", "unreadable: a.csv is not a table of points"),
        ("x,y\n9,2\n", "out of bounds: nucleus 1 is 2 px outside the image of 7 x 5"),
        ("x,y\n1,1\n1.4,1.2\n", "overlapping nuclei: nucleus 1 is in the same pixel"),
    ],
)
def test_unusable_tables_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(UnreadablePatch, match=reason):
        read(tmp_path, text)


def test_recognised_files(tmp_path: Path) -> None:
    for text, recognised in (("x,y,type\n", True), ("instance,type\n", False), ("", False)):
        (tmp_path / "a.csv").write_text(text)
        assert Points.recognises(tmp_path / "a.csv") is recognised
    with pytest.raises(ConfigError, match="no radius=-1"):
        Points(-1)


def test_discs_agree_with_distances() -> None:
    from morefromless.nuclei_formats.points import _discs

    rng = np.random.default_rng(0)
    pixels = rng.choice(40 * 40, 30, replace=False)
    centres = [(float(k % 40), float(k // 40)) for k in pixels]
    result = _discs(centres, (40, 40), 4.0)
    y, x = np.mgrid[:40, :40]
    distances = np.stack([np.hypot(x - a, y - b) for a, b in centres])
    expected = np.where(distances.min(0) <= 4, distances.argmin(0) + 1, 0)
    np.testing.assert_array_equal(result, expected)
