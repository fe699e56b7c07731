"""Outlines of nuclei to pixels.

Two conventions are in use, and each is exact for what wrote it:

    centres   vertices are the centres of boundary pixels, which belong to the nucleus: what
              OpenCV's findContours gives, so HoVer-Net's json and TIAToolbox's files
    edges     pixel (x, y) reaches from x to x + 1 and belongs where its centre lies inside or on
              the outline: QuPath's regions, and what `data.geojson` writes

In both, a pixel that two nuclei claim goes to the one listed first. Where that takes more than half
of a nucleus the whole image is refused, as it is for outlines that cross themselves or reach more
than 1 px beyond the image. A nucleus too small to hold any pixel's centre gets the one below its
own centre.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import shapely
from PIL import Image, ImageDraw
from shapely.geometry.base import BaseGeometry

from morefromless.errors import UnreadablePatch

SLACK = 1.0
"""How far in px an outline may reach beyond the image, where it is cut off."""

LOST = 0.5
"""Share of its pixels that a nucleus may lose to those listed before it."""

Points = npt.NDArray[np.float64]


class Canvas:
    """An instance map (H, W) int32 in the making, nuclei numbered from 1 as they come."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.instances = np.zeros(shape, np.int32)
        self.count = 0

    def contour(self, points: Points) -> int:
        """Add the nucleus of a contour (n, 2) x, y through pixel centres; its number."""
        name = self.count + 1
        if points.ndim != 2 or points.shape[1] != 2 or not len(points):
            raise UnreadablePatch(f"broken polygon: nucleus {name} has no points x, y")
        self._check_inside(points, name, 1.0)
        whole = np.rint(points).astype(np.int64)
        corner = whole.min(0)
        width, height = whole.max(0) - corner + 1
        drawn = Image.new("1", (int(width), int(height)))
        vertices = [(int(x), int(y)) for x, y in whole - corner]
        pen = ImageDraw.Draw(drawn)
        if len(vertices) > 2:
            pen.polygon(vertices, fill=1, outline=1)
        else:
            pen.line([*vertices, vertices[0]], fill=1)
        return self._add(np.asarray(drawn), corner, whole.mean(0))

    def region(self, region: BaseGeometry) -> int:
        """Add the nucleus of a polygon or several, holes included; its number."""
        name = self.count + 1
        points = shapely.get_coordinates(region)
        if not len(points):
            raise UnreadablePatch(f"broken polygon: nucleus {name} has no outline")
        self._check_inside(points, name, 0.0)
        if not region.is_valid:
            reason = shapely.is_valid_reason(region).partition("[")[0].lower()
            raise UnreadablePatch(f"broken polygon: the outline of nucleus {name}: {reason}")
        corner = np.floor(points.min(0)).astype(np.int64)
        width, height = np.ceil(points.max(0)).astype(np.int64) - corner
        y, x = np.mgrid[0:height, 0:width] + 0.5
        shapely.prepare(region)
        inside = shapely.intersects_xy(region, x + corner[0], y + corner[1])
        return self._add(inside, corner, np.floor(points.mean(0)))

    def _check_inside(self, points: Points, name: int, reach: float) -> None:
        """`reach` is how far a pixel stretches from a vertex at its corner or its centre."""
        if not np.isfinite(points).all():
            raise UnreadablePatch(f"broken polygon: nucleus {name} has points that are no numbers")
        height, width = self.instances.shape
        beyond = max(-points.min(), (points + reach - (width, height)).max())
        if beyond > SLACK:
            raise UnreadablePatch(
                f"out of bounds: nucleus {name} reaches {beyond:.0f} px beyond an image of {width} "
                f"x {height} px; is it another image's, or at another magnification?"
            )

    def _add(
        self, mask: npt.NDArray[np.bool_], corner: npt.NDArray[np.int64], middle: Points
    ) -> int:
        """Give the mask's free pixels, its first being at `corner` (x, y), to a new nucleus."""
        self.count += 1
        height, width = self.instances.shape
        low, high = np.maximum(corner, 0), np.minimum(corner + mask.shape[::-1], (width, height))
        part = mask[
            low[1] - corner[1] : high[1] - corner[1], low[0] - corner[0] : high[0] - corner[0]
        ]
        into = self.instances[low[1] : high[1], low[0] : high[0]]
        if not part.any():
            x, y = np.clip(middle, 0, (width - 1, height - 1)).astype(np.int64)
            into, part = self.instances[y : y + 1, x : x + 1], np.ones((1, 1), bool)
        free = part & (into == 0)
        if free.sum() < LOST * part.sum():
            other = np.bincount(into[part & (into > 0)]).argmax()
            raise UnreadablePatch(
                f"overlapping nuclei: number {other} covers most of number {self.count}; outlines "
                "must not lie upon each other"
            )
        into[free] = self.count
        return self.count


def trace(mask: npt.NDArray[np.bool_]) -> BaseGeometry:
    """The pixels of a mask (H, W) as a polygon, or several, along the edges of pixels; exact."""
    padded = np.pad(mask, ((0, 0), (1, 1))).astype(np.int8)
    steps = np.diff(padded, axis=1)
    y, start = np.nonzero(steps == 1)
    stop = np.nonzero(steps == -1)[1]
    runs: Iterable[BaseGeometry] = shapely.box(start, y, stop, y + 1)
    return shapely.simplify(shapely.union_all(runs), 0)
