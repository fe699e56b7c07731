"""Convert outlines of nuclei to pixels, and back.

Two conventions exist. Both are exact for outlines that follow them:

`centres`: vertices are pixel centres, and pixels on the outline belong to the nucleus, as OpenCV's
findContours traces (HoVer-Net's json, TIAToolbox's files). A pixel belongs to a nucleus if its
centre (x, y) is in or on the outline. Filling an external contour restores the traced mask, with
holes filled. One point is one pixel, two points are a line. Outlines that retrace themselves are
thin necks.

`edges`: vertices are pixel corners, as in QuPath's regions and the files that `data.geojson`
writes. Pixel (x, y) covers x to x + 1 and y to y + 1. It belongs to a nucleus if its centre
(x + 1/2, y + 1/2) is inside. Centres on the left and upper side of the outline belong to it, so
neighbours share no pixel and leave no gap.

Rules for both:

- A pixel that two nuclei claim goes to the one listed first. If a nucleus loses more than half of
  its pixels this way, the whole image is rejected.
- Outlines that extend up to `outlines.MAX_OUTSIDE` px outside the image are clipped; if one extends
  further, the image is rejected.
- Broken outlines are rejected: coordinates that are not finite, and outlines that cross themselves;
  with `edges` also rings with fewer than three different vertices or without area.
- A nucleus that contains no pixel centre gets the pixel at the mean of its vertices, if it is free.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from morefromless.data.outlines import (
    TOLERANCE,
    Convention,
    Geometries,
    Numbers,
    Outlines,
    Polygon,
    broken_polygon,
    check_inside,
    check_valid,
)
from morefromless.errors import UnreadablePatch

MAX_PIXELS = 2**26
"""Maximum pixels in the boxes around all outlines of an image; 50,000 nuclei have a tenth of it."""

MAX_VERTICES = 1024
"""Maximum vertices of an outline that retraces itself: each edge may cross all others."""


def fill(
    nuclei: Sequence[Sequence[Polygon]], shape: tuple[int, int], convention: Convention
) -> npt.NDArray[np.int32]:
    """Fill an instance map (H, W) int32 with nuclei, numbered from 1 in their order.

    A nucleus is one polygon or several, which may touch and overlap each other. Raises
    `UnreadablePatch` if the rules of this module reject the image.

    >>> square = np.array([[1, 0], [3, 0], [3, 2], [1, 2]])
    >>> fill([[[square]]], (3, 4), "edges")
    array([[0, 1, 1, 0],
           [0, 1, 1, 0],
           [0, 0, 0, 0]], dtype=int32)
    >>> fill([[[square]]], (3, 4), "centres")
    array([[0, 1, 1, 1],
           [0, 1, 1, 1],
           [0, 1, 1, 1]], dtype=int32)
    """
    if not nuclei:
        return np.zeros(shape, np.int32)
    outlines = Outlines.of(nuclei)
    check_inside(outlines, shape, convention)
    if convention == "edges":
        check_valid(outlines)
    shift = 0.5 if convention == "edges" else 0.0
    nearest = np.rint(outlines.points - shift)
    distance = outlines.points - shift - nearest
    # Shift and round so that pixel centres have integer coordinates.
    points = np.where(np.abs(distance) < TOLERANCE, nearest, nearest + distance)
    outlines = replace(outlines, points=points)
    owner, pixel = _claims(outlines, shape, convention)
    return _paint(owner, pixel, outlines, shape)


def _claims(
    outlines: Outlines, shape: tuple[int, int], convention: Convention
) -> tuple[Numbers, Numbers]:
    """Nucleus (from 0) and flat pixel index of each pixel in an outline, in ascending order."""
    height, width = shape
    rings = outlines.rings()
    areas = shapely.polygons(rings, indices=outlines.polygon)
    lines = np.full(len(areas), None)
    bounds = shapely.bounds(areas)
    if convention == "centres":
        for k in np.flatnonzero(~shapely.is_valid(areas)).tolist():
            of_polygon = rings[slice(*np.searchsorted(outlines.polygon, (k, k + 1)))]
            areas[k] = _without_necks(areas[k], of_polygon, int(outlines.nucleus[k]) + 1)
            lines[k] = shapely.MultiLineString(list(of_polygon))
    shapely.prepare(areas)
    shapely.prepare(lines)
    total, claims = 0, [np.empty(0, np.int64)]
    for polygon, x, y in _candidates(bounds, shape):
        if convention == "centres":
            inside = shapely.intersects_xy(areas[polygon], x, y)
            inside |= shapely.intersects_xy(lines[polygon], x, y)
        else:  # shifted slightly right and down, to decide for centres on the outline
            inside = shapely.contains_xy(areas[polygon], x + TOLERANCE, y + TOLERANCE / 1000)
        total += int(inside.sum())
        # If nuclei claim more than twice the pixels of the image, one of them loses more than half
        # of its pixels. The limit is higher because the polygons of one nucleus may overlap.
        if total > 6 * height * width:
            raise UnreadablePatch(
                f"overlapping nuclei: they cover {total:,} px, but the image has "
                f"{height * width:,}; list each nucleus once"
            )
        owner = outlines.nucleus[polygon[inside]]
        claims.append(owner * (height * width) + y[inside] * width + x[inside])
    owner, pixel = np.divmod(np.unique(np.concatenate(claims)), height * width)
    return owner, pixel


def _without_necks(area: Any, rings: Geometries, number: int) -> Any:
    """The polygon of a contour that retraces itself; contours that cross themselves are rejected.

    If a contour encloses a part twice, or encloses two parts in opposite directions, its signed
    area differs from the area that it encloses. A retraced line encloses no area.
    """
    if len(shapely.get_coordinates(area)) > MAX_VERTICES:
        raise UnreadablePatch(
            f"too detailed: the outline of nucleus {number} touches or crosses itself, with over "
            f"{MAX_VERTICES:,} vertices; cut smaller tiles"
        )
    for outline in rings:
        x, y = outline.xy
        signed = (np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2
        enclosed = shapely.make_valid(shapely.Polygon(outline)).area
        if abs(abs(signed) - enclosed) > TOLERANCE * (1 + outline.length):
            raise broken_polygon(number, "crosses itself")
    return shapely.make_valid(area)


def _candidates(
    bounds: npt.NDArray[np.float64], shape: tuple[int, int]
) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
    """Polygon, x and y of the pixels in the polygons' boxes (Q, 4), some millions at a time."""
    height, width = shape
    first = np.maximum(np.ceil(bounds[:, :2] - TOLERANCE), 0).astype(np.int64)
    last = np.minimum(np.floor(bounds[:, 2:] + TOLERANCE), (width - 1, height - 1)).astype(np.int64)
    columns, rows = np.maximum(last + 1 - first, 0).T
    counts = columns * rows
    if counts.sum() > MAX_PIXELS:
        raise UnreadablePatch(
            f"too detailed: the boxes around outlines have {int(counts.sum()):,} px in total; cut "
            "smaller tiles"
        )
    chunk = np.cumsum(counts) // 2**22
    for k in np.unique(chunk):
        polygons = np.flatnonzero(chunk == k)
        polygon = np.repeat(polygons, counts[polygons])
        before = np.cumsum(counts[polygons]) - counts[polygons]
        offset = np.arange(len(polygon)) - np.repeat(before, counts[polygons])
        row, column = np.divmod(offset, columns[polygon])
        yield polygon, first[polygon, 0] + column, first[polygon, 1] + row


def _paint(
    owner: Numbers, pixel: Numbers, outlines: Outlines, shape: tuple[int, int]
) -> npt.NDArray[np.int32]:
    """Write claims to an instance map. The first nucleus gets a pixel; none may lose over half."""
    height, width = shape
    count = int(outlines.nucleus[-1]) + 1
    pixel, first = np.unique(pixel, return_index=True)  # claims ascend, so the first nucleus wins
    instances = np.zeros(height * width, np.int32)
    instances[pixel] = owner[first] + 1
    instances = instances.reshape(shape)
    claimed = np.bincount(owner, minlength=count)
    lost = claimed - np.bincount(owner[first], minlength=count)
    mostly_lost = np.flatnonzero(2 * lost > claimed)
    if len(mostly_lost):
        number = int(mostly_lost[0])
        raise UnreadablePatch(
            f"overlapping nuclei: nucleus {number + 1} loses {lost[number]} of its "
            f"{claimed[number]} px to nuclei listed before it; outlines must not overlap"
        )
    empty = np.flatnonzero(claimed == 0)
    bounds = np.searchsorted(outlines.owner, [empty, empty + 1]).T
    for number, vertices in zip(empty.tolist(), bounds.tolist(), strict=True):
        middle = outlines.points[slice(*vertices)].mean(0)
        x, y = np.clip(np.rint(middle), 0, (width - 1, height - 1)).astype(np.int64)
        if instances[y, x]:
            raise UnreadablePatch(
                f"overlapping nuclei: nucleus {number + 1} is smaller than a pixel, and its pixel "
                f"belongs to nucleus {instances[y, x]}; outlines must not overlap"
            )
        instances[y, x] = number + 1
    return instances


def trace(mask: npt.NDArray[np.bool_]) -> shapely.Geometry:
    """Trace the pixels of a mask (H, W) as one or more polygons along pixel edges, with holes.

    The result is exact and valid, and has vertices only where the outline turns. Pixels that touch
    only at a corner become polygons, or a polygon and its hole, that touch in that point.

    >>> trace(np.array([[True, True, False]])).wkt
    'POLYGON ((0 0, 0 1, 2 1, 2 0, 0 0))'
    """
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, start = np.nonzero(steps == 1)
    stop = np.nonzero(steps == -1)[1]
    joined = shapely.union_all(shapely.box(start, row, stop, row + 1))
    return shapely.normalize(shapely.simplify(joined, 0))
