"""Outlines of nuclei from files: all of an image in one array; broken outlines are rejected."""

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
"""The outer ring, followed by the rings of its holes."""

MAX_OUTSIDE = 1.0
"""Pixels that outlines and points may lie outside the image: tools round differently there."""

TOLERANCE = 1e-6
"""Tolerance in pixels for equal coordinates: the rounding error of scaling and storing them."""

Numbers = npt.NDArray[np.int64]
Geometries = npt.NDArray[Any]


def ring(points: Any, number: int) -> Ring:
    """Convert the vertices (n, 2) or (n, 3) of nucleus `number` in a file; a third column is
    dropped.

    Raises `UnreadablePatch` if they are not a list of pairs or triples of numbers.

    >>> ring([[0, 1], [2, 3]], number=7)
    array([[0., 1.],
           [2., 3.]])
    """
    if isinstance(points, (list, tuple)):
        # Checked first: nested lists in a small pickle could exhaust the memory.
        if not all(isinstance(point, (list, tuple)) and len(point) in (2, 3) for point in points):
            raise broken_polygon(number, "is not a list of x, y")
        if not {type(value) for point in points for value in point} <= {int, float}:
            raise broken_polygon(number, "is not a list of x, y")
    try:
        array = np.asarray(points)
    except ValueError as error:  # pairs and triples mixed
        raise broken_polygon(number, "is not a list of x, y") from error
    if array.dtype.kind not in "iuf" or array.ndim != 2 or array.shape[1] not in (2, 3):
        raise broken_polygon(number, "is not a list of x, y")
    return array[:, :2].astype(np.float64)


@dataclass(frozen=True)
class Outlines:
    """All vertices in one array, with their owners.

    `points` (P, 2); `ring` (P,) of each vertex; `polygon` (R,) of each ring; `nucleus` (Q,) of each
    polygon.
    """

    points: npt.NDArray[np.float64]
    ring: Numbers
    polygon: Numbers
    nucleus: Numbers

    @classmethod
    def of(cls, nuclei: Sequence[Sequence[Polygon]]) -> "Outlines":
        for number, polygons in enumerate(nuclei, 1):
            if not polygons or not all(len(p) and all(len(r) for r in p) for p in polygons):
                raise broken_polygon(number, "is empty")
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
        """(P,) nucleus of each vertex, numbered from 0."""
        owner: Numbers = self.nucleus[self.polygon[self.ring]]
        return owner

    def rings(self) -> Geometries:
        """(R,) shapely rings; the last vertex of rings with one or two vertices is repeated."""
        counts = np.bincount(self.ring)
        times = np.ones(len(self.points), np.int64)
        times[np.cumsum(counts) - 1] += np.maximum(3 - counts, 0)
        rings: Geometries = shapely.linearrings(
            np.repeat(self.points, times, axis=0), indices=np.repeat(self.ring, times)
        )
        return rings


def _repeated(counts: list[int]) -> Numbers:
    return np.repeat(np.arange(len(counts)), np.array(counts, np.int64))


def broken_polygon(number: int, what: str) -> UnreadablePatch:
    return UnreadablePatch(
        f"broken polygon: the outline of nucleus {number} {what}; correct it in the program that "
        "made it"
    )


def check_inside(outlines: Outlines, shape: tuple[int, int], convention: Convention) -> None:
    height, width = shape
    not_finite = ~np.isfinite(outlines.points).all(1)
    if not_finite.any():
        raise broken_polygon(
            int(outlines.owner[not_finite][0]) + 1, "has coordinates that are not finite"
        )
    last = np.array([width, height]) - (convention == "centres")
    beyond = np.maximum(-outlines.points, outlines.points - last).max(1)
    worst = int(beyond.argmax())
    if beyond[worst] > MAX_OUTSIDE + TOLERANCE:
        raise UnreadablePatch(
            f"out of bounds: nucleus {outlines.owner[worst] + 1} reaches "
            f"{math.ceil(beyond[worst]):,} px outside the image of {width} x {height}; check that "
            "the file belongs to this image, at this magnification"
        )


def check_valid(outlines: Outlines) -> None:
    """Reject polygons that are invalid by the OGC standard: rings that cross themselves or each
    other."""
    points, rings = outlines.points, outlines.ring
    order = np.lexsort((points[:, 1], points[:, 0], rings))
    new = np.append(True, (np.diff(points[order], axis=0) != 0).any(1) | (np.diff(rings) != 0))
    too_few = np.bincount(rings[order], new) < 3
    if too_few.any():
        owner = outlines.nucleus[outlines.polygon[too_few]][0]
        raise broken_polygon(int(owner) + 1, "has fewer than three different vertices")
    areas = shapely.polygons(outlines.rings(), indices=outlines.polygon)
    invalid = ~shapely.is_valid(areas)
    if invalid.any():
        why = shapely.is_valid_reason(areas[invalid][0]).replace("[", " at x y = ").rstrip("]")
        raise broken_polygon(int(outlines.nucleus[invalid][0]) + 1, f"is not valid ({why})")
