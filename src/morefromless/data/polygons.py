"""Outlines of nuclei to pixels, and back.

Two conventions exist, and both are exact for what follows them:

`centres`: vertices are pixel centres, and pixels on the outline belong to the nucleus. So OpenCV's
findContours traces (HoVer-Net's json, TIAToolbox's files). A pixel belongs where its centre (x, y)
lies in or on the outline; filling an external contour restores the traced mask, its holes closed.
One point is one pixel, two are a line; outlines that run back upon themselves are thin necks.

`edges`: vertices are pixel corners. So QuPath's regions are, and what `data.geojson` writes. Pixel
(x, y) covers x to x + 1 and y to y + 1, and belongs where its centre (x + 1/2, y + 1/2) lies
inside. Of centres that lie on the outline those on its left and upper side belong, so that
neighbours share no pixel and leave none out.

Rules in both:

- A pixel that two nuclei claim goes to the one listed first. Where a nucleus loses more than half
  of its pixels thus, the whole image is refused.
- What reaches up to `SLACK` px beyond the image is clipped; further out, the image is refused.
- Broken outlines are refused: coordinates that are no finite numbers, and outlines that cross
  themselves; with `edges` also rings of fewer than three different vertices or without area.
- A nucleus that holds no pixel's centre gets the free pixel around the mean of its vertices.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import shapely

from morefromless.errors import UnreadablePatch

Convention = Literal["edges", "centres"]

Ring = npt.NDArray[np.float64]
"""(n, 2) vertices x, y in px; the last may repeat the first."""

Polygon = Sequence[Ring]
"""The outer ring, and then those of its holes."""

SLACK = 1.0
"""Pixels that an outline may reach beyond the image: tools round differently at its border."""

FINE = 1e-6
"""Pixels below which coordinates are equal: what scaling and storing them costs."""

MOST_CROSSINGS = 2**24
"""Places at which all outlines of one image together may cross the rows of its pixels. A tile of
50,000 nuclei has a fifth of that; a file made to exhaust the memory has more."""

Numbers = npt.NDArray[np.int64]


def ring(points: Any, number: int) -> Ring:
    """Vertices (n, 2) or (n, 3) of nucleus `number` as a file gives them; a third one is dropped.

    Raises `UnreadablePatch` where they are not a list of pairs of numbers.
    """
    try:
        found = np.asarray(points)
    except ValueError as error:  # pairs and triples mixed
        raise _broken(number, "is no list of x, y") from error
    if found.dtype.kind not in "iuf" or found.ndim != 2 or found.shape[1] not in (2, 3):
        raise _broken(number, "is no list of x, y")
    return found[:, :2].astype(np.float64)


def fill(
    nuclei: Sequence[Sequence[Polygon]], shape: tuple[int, int], convention: Convention
) -> npt.NDArray[np.int32]:
    """Instance map (H, W) int32 of nuclei numbered from 1 in their order.

    A nucleus is one polygon or several, which may touch and overlap each other. Raises
    `UnreadablePatch` as the module says.
    """
    if not nuclei:
        return np.zeros(shape, np.int32)
    outlines = _Outlines.of(nuclei)
    _refuse_outside(outlines, shape, convention)
    if convention == "edges":
        _refuse_invalid(outlines)
    shift = 0.5 if convention == "edges" else 0.0
    near = np.rint(outlines.points - shift)
    apart = outlines.points - shift - near
    # On the grid of pixel centres, so that a centre is a pair of whole numbers.
    points = np.where(np.abs(apart) < FINE, near, near + apart)
    runs = _runs(points, outlines, shape, closed=convention == "centres")
    return _painted(*runs, points, outlines, shape)


@dataclass(frozen=True)
class _Outlines:
    """All vertices (P, 2) in a row, and whose they are: ring (P,), polygon (R,), nucleus (Q,)."""

    points: npt.NDArray[np.float64]
    ring: Numbers
    polygon: Numbers
    nucleus: Numbers

    @classmethod
    def of(cls, nuclei: Sequence[Sequence[Polygon]]) -> "_Outlines":
        for number, polygons in enumerate(nuclei, 1):
            if not polygons or not all(len(p) and all(len(r) for r in p) for p in polygons):
                raise _broken(number, "is empty")
        polygons = [polygon for nucleus in nuclei for polygon in nucleus]
        rings = [outline for polygon in polygons for outline in polygon]
        return cls(
            np.concatenate(rings),
            _repeated([len(outline) for outline in rings]),
            _repeated([len(polygon) for polygon in polygons]),
            _repeated([len(nucleus) for nucleus in nuclei]),
        )

    @property
    def owner(self) -> Numbers:
        """(P,) nucleus of each vertex, from 0."""
        owner: Numbers = self.nucleus[self.polygon[self.ring]]
        return owner


def _repeated(counts: list[int]) -> Numbers:
    return np.repeat(np.arange(len(counts)), np.array(counts, np.int64))


def _broken(number: int, what: str) -> UnreadablePatch:
    return UnreadablePatch(
        f"broken polygon: the outline of nucleus {number} {what}; mend it where it was drawn"
    )


def _refuse_outside(outlines: _Outlines, shape: tuple[int, int], convention: Convention) -> None:
    height, width = shape
    bad = ~np.isfinite(outlines.points).all(1)
    if bad.any():
        raise _broken(int(outlines.owner[bad][0]) + 1, "has coordinates that are no numbers")
    last = np.array([width, height]) - (convention == "centres")
    beyond = np.maximum(-outlines.points, outlines.points - last).max(1)
    worst = int(beyond.argmax())
    if beyond[worst] > SLACK + FINE:
        raise UnreadablePatch(
            f"out of bounds: nucleus {outlines.owner[worst] + 1} reaches "
            f"{math.ceil(beyond[worst]):,} px beyond the image of {width} x {height}; does the "
            "file belong to this image, at this magnification?"
        )


def _refuse_invalid(outlines: _Outlines) -> None:
    """What is no polygon in the sense of the OGC: rings that cross themselves or each other."""
    points, rings = outlines.points, outlines.ring
    order = np.lexsort((points[:, 1], points[:, 0], rings))
    new = np.append(True, (np.diff(points[order], axis=0) != 0).any(1) | (np.diff(rings) != 0))
    few = np.bincount(rings[order], new) < 3
    if few.any():
        owner = outlines.nucleus[outlines.polygon[few]][0]
        raise _broken(int(owner) + 1, "has fewer than three different vertices")
    drawn = shapely.polygons(shapely.linearrings(points, indices=rings), indices=outlines.polygon)
    invalid = ~shapely.is_valid(drawn)
    if invalid.any():
        why = shapely.is_valid_reason(drawn[invalid][0]).replace("[", " at x y = ").rstrip("]")
        raise _broken(int(outlines.nucleus[invalid][0]) + 1, f"is not valid ({why})")


def _runs(
    points: npt.NDArray[np.float64], outlines: _Outlines, shape: tuple[int, int], closed: bool
) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Runs of pixels, as nucleus (from 0), row, first column and the column after the last.

    Every row is cut at the outlines' crossings with the line through its pixels' centres; what
    lies between an odd crossing of a polygon and the next is inside.
    """
    height, width = shape
    following = np.arange(1, len(points) + 1)
    first_of = np.flatnonzero(np.append(True, np.diff(outlines.ring) != 0))
    following[np.append(first_of[1:], len(points)) - 1] = first_of
    # Upwards or downwards, an edge is computed from its upper end: retraced ones cancel exactly.
    down = points[following, 1] > points[:, 1]
    upper = np.where(down[:, None], points, points[following])
    lower = np.where(down[:, None], points[following], points)
    top = np.clip(np.ceil(upper[:, 1]), 0, height).astype(np.int64)
    count = np.clip(np.ceil(lower[:, 1]), 0, height).astype(np.int64) - top
    if count.sum() > MOST_CROSSINGS:
        raise UnreadablePatch(
            f"too detailed: outlines cross rows {int(count.sum()):,} times; cut smaller tiles"
        )
    edge = np.repeat(np.arange(len(points)), count)
    row = top[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    reach = lower[edge] - upper[edge]
    x = upper[edge, 0] + (row - upper[edge, 1]) * reach[:, 0] / reach[:, 1]
    if closed:
        _refuse_crossed(x, row, outlines.ring[edge], np.where(down[edge], 1, -1), outlines)
    polygon = outlines.polygon[outlines.ring[edge]]
    order = np.lexsort((x, row, polygon))
    left, right = x[order][0::2], x[order][1::2]
    owner, row = outlines.nucleus[polygon[order][0::2]], row[order][0::2]
    if closed:  # and what lies on the outline in rows where it does not pass: flat edges, tips
        y = points[:, 1]
        flat = np.flatnonzero((y == np.rint(y)) & (y >= 0) & (y < height))
        level = y[following[flat]] == y[flat]
        other = np.where(level, points[following[flat], 0], points[flat, 0])
        left = np.append(left, np.minimum(points[flat, 0], other))
        right = np.append(right, np.maximum(points[flat, 0], other))
        owner = np.append(owner, outlines.owner[flat])
        row = np.append(row, y[flat].astype(np.int64))
        start, stop = np.ceil(left - FINE), np.floor(right + FINE) + 1
    else:
        start, stop = np.ceil(left - FINE), np.ceil(right - FINE)
    start = np.clip(start, 0, width).astype(np.int64)
    stop = np.clip(stop, start, width).astype(np.int64)
    return owner, row, start, stop


def _refuse_crossed(
    x: npt.NDArray[np.float64], row: Numbers, ring: Numbers, turn: Numbers, outlines: _Outlines
) -> None:
    """Refuse rings that go round anything twice, or round one part this way and another that way.

    No tracing of a mask does. Running back upon itself goes round nothing, so that is allowed.
    """
    order = np.lexsort((x, row, ring))
    x, row, ring = x[order], row[order], ring[order]
    around = np.cumsum(turn[order])  # each row of a ring ends at 0
    wide = np.append((np.diff(x) > FINE) & (np.diff(row) == 0) & (np.diff(ring) == 0), True)
    this_way = np.unique(ring[wide & (around > 0)])
    that_way = np.unique(ring[wide & (around < 0)])
    twice = np.unique(ring[wide & (np.abs(around) > 1)])
    crossed = np.append(np.intersect1d(this_way, that_way), twice)
    if len(crossed):
        owner = outlines.nucleus[outlines.polygon[crossed.min()]]
        raise _broken(int(owner) + 1, "crosses itself")


def _painted(
    owner: Numbers,
    row: Numbers,
    start: Numbers,
    stop: Numbers,
    points: npt.NDArray[np.float64],
    outlines: _Outlines,
    shape: tuple[int, int],
) -> npt.NDArray[np.int32]:
    """Runs onto an instance map: the first nucleus has it, and nobody may lose most of himself."""
    height, width = shape
    length = stop - start
    nuclei = int(outlines.nucleus[-1]) + 1
    # With more than 2 px claimed for each there is, somebody would lose more than half. A pixel may
    # come three times here, as part of a row and of the outline; a flood is not laid out.
    if length.sum() > 6 * height * width + len(points) + len(length):
        raise UnreadablePatch(
            f"overlapping nuclei: they claim {int(length.sum()):,} px of an image of "
            f"{height * width:,}; list each nucleus once"
        )
    run = np.repeat(np.arange(len(length)), length)
    column = start[run] + np.arange(len(run)) - np.repeat(np.cumsum(length) - length, length)
    claims = np.unique(owner[run] * (height * width) + row[run] * width + column)
    owner, pixel = np.divmod(claims, height * width)
    pixel, first = np.unique(pixel, return_index=True)  # claims ascend: the first nucleus' one
    painted = np.zeros(height * width, np.int32)
    painted[pixel] = owner[first] + 1
    claimed = np.bincount(owner, minlength=nuclei)
    lost = claimed - np.bincount(owner[first], minlength=nuclei)
    robbed = np.flatnonzero(2 * lost > claimed)
    if len(robbed):
        number = int(robbed[0])
        raise UnreadablePatch(
            f"overlapping nuclei: nucleus {number + 1} loses {lost[number]} of its "
            f"{claimed[number]} px to those listed before it; outlines must not lie upon each other"
        )
    instances = painted.reshape(shape)
    for number in np.flatnonzero(claimed == 0).tolist():
        middle = points[outlines.owner == number].mean(0)
        x, y = np.clip(np.rint(middle), 0, (width - 1, height - 1)).astype(np.int64)
        if instances[y, x]:
            raise UnreadablePatch(
                f"overlapping nuclei: nucleus {number + 1} is smaller than a pixel, and that one "
                f"is nucleus {instances[y, x]}'s; outlines must not lie upon each other"
            )
        instances[y, x] = number + 1
    return instances


def trace(mask: npt.NDArray[np.bool_]) -> shapely.Geometry:
    """The pixels of a mask (H, W) as a polygon or several along pixel edges, holes included.

    Exact, valid, and with a vertex only where the outline turns. Pixels that touch at a corner
    alone become polygons, or a polygon and its hole, that touch in that point.
    """
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, start = np.nonzero(steps == 1)
    stop = np.nonzero(steps == -1)[1]
    joined = shapely.union_all(shapely.box(start, row, stop, row + 1))
    return shapely.normalize(shapely.simplify(joined, 0))
