"""Outlines become exactly the pixels that they enclose, or are rejected."""

import numpy as np
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from morefromless.data.outlines import TOLERANCE, ring
from morefromless.data.polygons import fill, trace
from morefromless.errors import UnreadablePatch

# Results of cv2.findContours of OpenCV 4.14: external, CHAIN_APPROX_SIMPLE, and NONE if different.
CONTOURS = {
    "one pixel": ("#", [(0, 0)], None),
    "two pixels": ("##", [(0, 0), (1, 0)], None),
    "two on a diagonal": ("#. .#", [(0, 0), (1, 1)], None),
    "diagonal line": (
        "#... .#.. ..#. ...#",
        [(0, 0), (3, 3)],
        [(0, 0), (1, 1), (2, 2), (3, 3), (2, 2), (1, 1)],
    ),
    "diamond": (
        "..#.. .###. ##### .###. ..#..",
        [(2, 0), (0, 2), (2, 4), (4, 2)],
        [(2, 0), (1, 1), (0, 2), (1, 3), (2, 4), (3, 3), (4, 2), (3, 1)],
    ),
    "bent line": (
        "#.... .#... ..###",
        [(0, 0), (2, 2), (4, 2), (2, 2)],
        [(0, 0), (1, 1), (2, 2), (3, 2), (4, 2), (3, 2), (2, 2), (1, 1)],
    ),
    "thin neck": (
        "###.... ###.... ####### ###.### ....###",
        [(0, 0), (0, 3), (2, 3), (3, 2), (4, 3), (4, 4), (6, 4), (6, 2), (3, 2), (2, 1), (2, 0)],
        None,
    ),
    "two at a corner": (
        "##.. ##.. ..## ..##",
        [(0, 0), (0, 1), (1, 1), (2, 2), (2, 3), (3, 3), (3, 2), (2, 2), (1, 1), (1, 0)],
        None,
    ),
    "branches": (
        "#.# .#. #.#",
        [(0, 0), (1, 1), (0, 2), (1, 1), (2, 2), (1, 1), (2, 0), (1, 1)],
        None,
    ),
}
MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def mask_of(rows: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in row] for row in rows.split()])


def rings(*outlines: list) -> list:
    """A nucleus of one polygon."""
    return [[np.array(outline, float) for outline in outlines]]


def square(x: float, y: float, side: float) -> list:
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


def parts(traced: shapely.Geometry) -> list:
    return [
        [shapely.get_coordinates(outline) for outline in shapely.get_rings(part)]
        for part in shapely.get_parts(traced)
    ]


@pytest.mark.parametrize(("rows", "simple", "all_points"), CONTOURS.values(), ids=CONTOURS)
def test_opencv_contour_restores_its_mask(rows: str, simple: list, all_points: list) -> None:
    for contour in (simple, all_points or simple, [*simple, simple[0]]):
        result = fill([rings(contour)], mask_of(rows).shape, "centres")
        np.testing.assert_array_equal(result > 0, mask_of(rows))


@pytest.mark.parametrize("name", ["thin neck", "bent line", "branches", "diamond"])
def test_slightly_widened_contour_gives_the_same_pixels(name: str) -> None:
    rows, contour, _ = CONTOURS[name]
    widened = shapely.buffer(shapely.Polygon(contour), 0.01)
    result = fill([parts(widened)], mask_of(rows).shape, "centres")
    np.testing.assert_array_equal(result > 0, mask_of(rows))


@given(MASKS)
def test_traced_mask_is_restored(mask: np.ndarray) -> None:
    traced = trace(mask)
    assert traced.is_valid
    assert traced.area == mask.sum()
    if mask.any():
        np.testing.assert_array_equal(fill([parts(traced)], mask.shape, "edges"), mask)


def test_traced_outlines_have_a_vertex_only_where_they_turn() -> None:
    assert len(shapely.get_coordinates(trace(np.ones((5, 7), bool)))) == 5
    assert len(shapely.get_coordinates(trace(mask_of("#.. ##. ###")))) == 9


@given(st.integers(0, 2**32 - 1))
@example(453717)  # an outline 5e-8 px from a pixel's centre
def test_outlines_between_pixels_agree_with_shapely(seed: int) -> None:
    """Stars with holes, against shapely: inside for edges, inside or on the outline for centres."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radii = rng.uniform(3, 9, 9)
    outer = 10 + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    star = shapely.Polygon(outer)
    hole = shapely.Point(10, 10).buffer(1.7)
    shape = star.difference(hole) if star.contains(hole) else star
    if not shape.is_valid or shape.geom_type != "Polygon":
        return
    y, x = np.mgrid[:20, :20]
    for convention, inside in (
        ("edges", shapely.contains_xy(shape, x + 0.5, y + 0.5)),
        ("centres", shapely.intersects_xy(shape, x, y)),
    ):
        result = fill([parts(shape)], (20, 20), convention)
        shift = 0.5 if convention == "edges" else 0
        centres = shapely.points(x + shift, y + shift)
        # Closer points count as on the outline.
        off_the_outline = shapely.distance(shape.boundary, centres) > 10 * TOLERANCE
        if inside.any():
            np.testing.assert_array_equal((result > 0)[off_the_outline], inside[off_the_outline])


def test_neighbours_cover_every_pixel_once() -> None:
    """The border runs through pixel centres; they go to one side, regardless of the order."""
    lower, upper = rings([(0, 0), (4, 4), (0, 4)]), rings([(0, 0), (4, 0), (4, 4)])
    result = fill([lower, upper], (4, 4), "edges")
    assert (result > 0).all()
    np.testing.assert_array_equal(fill([upper, lower], (4, 4), "edges"), 3 - result)
    halves = [
        rings([(0, 0), (1.5, 0), (1.5, 2), (0, 2)]),
        rings([(1.5, 0), (3, 0), (3, 2), (1.5, 2)]),
    ]
    assert fill(halves, (2, 3), "edges").tolist() == [[1, 2, 2]] * 2


def test_parts_are_one_nucleus_and_may_overlap() -> None:
    nucleus = [*rings(square(0, 0, 3)), *rings(square(2, 2, 3))]
    assert fill([nucleus], (5, 5), "edges").sum() == 9 + 9 - 1


def test_first_nucleus_keeps_a_shared_pixel() -> None:
    result = fill([rings(square(0, 0, 3)), rings(square(2, 0, 3))], (3, 5), "edges")
    assert result.tolist() == [[1, 1, 1, 2, 2]] * 3
    half = fill([rings(square(0, 0, 2)), rings(square(1, 0, 2))], (2, 3), "edges")
    assert half.tolist() == [[1, 1, 2]] * 2  # a half is not more than half


def test_a_nucleus_between_pixel_centres_gets_the_pixel_around_it() -> None:
    speck = rings(square(2.6, 1.6, 0.3))
    assert fill([speck], (3, 4), "edges").tolist() == [[0] * 4, [0, 0, 1, 0], [0] * 4]
    assert fill([speck], (3, 4), "centres").tolist() == [[0] * 4, [0] * 4, [0, 0, 0, 1]]
    with pytest.raises(UnreadablePatch, match=r"overlapping nuclei: nucleus 2 is smaller than a"):
        fill([rings(square(0, 0, 3)), speck], (3, 4), "edges")


def test_outline_one_pixel_outside_the_image_is_clipped() -> None:
    assert fill([rings(square(-1, -1, 5))], (3, 3), "edges").all()
    assert fill([rings(square(-1, -1, 4))], (3, 3), "centres").all()


def test_no_nuclei_are_an_empty_map() -> None:
    assert fill([], (2, 3), "edges").tolist() == [[0] * 3] * 2


GOOD = rings(square(0, 0, 2))


@pytest.mark.parametrize(
    ("nucleus", "convention", "reason"),
    [
        (rings([(4, 4), (8, 8), (8, 4), (4, 8)]), "edges", "broken polygon: .* nucleus 2 is not"),
        (rings([(4, 4), (8, 8), (8, 4), (4, 8)]), "centres", "broken polygon: .* 2 crosses itself"),
        (rings([*square(3, 3, 5), *square(4, 4, 3)]), "centres", "broken polygon: .* 2 crosses"),
        (rings(square(3, 3, 2), square(6, 6, 2)), "edges", "broken polygon: .* is not valid"),
        (rings([(4, 4), (8, 8), (4, 4)]), "edges", "broken polygon: .* fewer than three"),
        (rings([(4, 4), (6, 6), (8, 8)]), "edges", "broken polygon: .* nucleus 2 is not valid"),
        (rings([(4, 4), (np.nan, 8), (8, 4)]), "edges", "broken polygon: .* are not finite"),
        (rings([(4, 4), (np.inf, 8), (8, 4)]), "centres", "broken polygon: .* are not finite"),
        ([], "edges", "broken polygon: the outline of nucleus 2 is empty"),
        ([[]], "edges", "broken polygon: the outline of nucleus 2 is empty"),
        ([[np.empty((0, 2))]], "centres", "broken polygon: the outline of nucleus 2 is empty"),
        (rings(square(4, 4, 8)), "edges", "out of bounds: nucleus 2 reaches 2 px outside .* 10 x"),
        (rings([(10.1, 3)]), "centres", "out of bounds: nucleus 2 reaches 2 px"),
        (rings(square(4000, 9000, 8)), "edges", "8,998 px outside .* magnification"),
        (rings([(-1.5, 0), (3, 3), (0, 3)]), "edges", "out of bounds: nucleus 2 reaches 2 px"),
        (rings(square(0, 0, 2)), "edges", "overlapping nuclei: nucleus 2 loses 4 of its 4 px"),
    ],
)
def test_invalid_polygons_are_refused_in_one_sentence(
    nucleus: list, convention: str, reason: str
) -> None:
    with pytest.raises(UnreadablePatch, match=reason) as error:
        fill([GOOD, nucleus], (10, 10), convention)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "points",
    [
        None,
        3,
        "ab",
        [],
        [1, 2],
        [[1]],
        [[1, 2], [3]],
        [["1", "2"]],
        [[True, False]],
        [[10**30, 0]],
        {"x": 1},
        [[None, 1]],
        [[1, 2, 3, 4]],
    ],
)
def test_outline_must_be_a_list_of_points(points: object) -> None:
    with pytest.raises(
        UnreadablePatch, match="broken polygon: the outline of nucleus 7 is not a list"
    ):
        ring(points, 7)


def test_files_made_to_exhaust_the_memory_are_refused() -> None:
    saw = [(k % 5 + k / 1e6, 999 * (k % 2)) for k in range(20_000)]
    with pytest.raises(
        UnreadablePatch, match=r"too detailed: .* nucleus 1 touches or crosses itself"
    ):
        fill([rings([*saw, (9, 0)])], (1000, 1000), "centres")
    with pytest.raises(UnreadablePatch, match=r"overlapping nuclei: they cover 3,000,000 px"):
        fill([rings(square(0, 0, 100))] * 300, (100, 100), "edges")
