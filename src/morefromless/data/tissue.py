"""Detect the tissue of a slide, and the grid of tiles with tissue."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from morefromless.data.slides import RGB, Slide
from morefromless.errors import UnreadablePatch

OVERVIEW_UM_PER_PX = 8.0
"""µm per pixel at which tissue is detected; a nucleus is about one pixel."""
CHROMA_LIMITS = (0.05, 0.10)
"""Lower and upper limit of the chroma threshold. Otsu's threshold always splits the pixels, even if
a slide is empty or full."""
BLOCK, MIN_BLOCK = 512, 16
"""Side in pixels of a block that is read at once. Damaged blocks are halved, down to a minimum."""
PEN_EDGE = 2
"""Width in pixels of the border around ink that counts as ink."""


@dataclass(frozen=True)
class Tissue:
    """A low-resolution overview of a slide and its tissue mask."""

    overview: RGB
    """(H, W, 3) uint8 at `OVERVIEW_UM_PER_PX` µm per pixel."""
    mask: npt.NDArray[np.bool_]
    """(H, W)"""

    @property
    def share(self) -> float:
        """Share of the slide that is tissue."""
        return float(self.mask.mean())


def find_tissue(slide: Slide) -> Tissue:
    """Detect the tissue of a slide.

    Damaged areas are white in the overview and count as tissue, so that reading each tile there is
    tried. Raises `DataError` if the scale of the slide is unknown.
    """
    scale = slide.scale(OVERVIEW_UM_PER_PX)
    width, height = (max(1, int(side / scale)) for side in slide.size)
    overview = np.full((height, width, 3), 255, np.uint8)
    damaged = np.zeros((height, width), dtype=bool)
    blocks = [(x, y, BLOCK) for y in range(0, height, BLOCK) for x in range(0, width, BLOCK)]
    while blocks:
        x, y, side = blocks.pop()
        block = (slice(y, y + side), slice(x, x + side))
        rows, columns = damaged[block].shape
        try:
            overview[block] = slide.read(x * scale, y * scale, columns, rows, OVERVIEW_UM_PER_PX)
        except UnreadablePatch:
            if side == MIN_BLOCK:
                damaged[block] = True
                continue
            half = side // 2
            blocks += [(x + dx, y + dy, half) for dx in (0, half) for dy in (0, half)]
    return Tissue(overview, tissue_mask(overview) | damaged)


def tissue_mask(image: RGB) -> npt.NDArray[np.bool_]:
    """Tissue mask of an overview (H, W, 3): coloured pixels that are neither dark nor ink.

    Chroma (the largest channel minus the smallest) is compared with Otsu's threshold (1979),
    clipped to `CHROMA_LIMITS`. White, grey and black have no chroma, so glass, shadows and black
    ink are excluded. Green, blue and red ink have hues, or a saturation, that no common stain has.

    >>> pink, white, green = (225, 160, 200), (245, 245, 245), (60, 170, 90)
    >>> tissue_mask(np.repeat(np.uint8([[pink, white, green]]), 9, axis=1)).mean().round(2)
    np.float64(0.33)
    """
    smooth = ndimage.uniform_filter(image.astype(np.float32) / 255, size=(3, 3, 1))
    red, green, blue = np.moveaxis(smooth, -1, 0)
    brightest = smooth.max(-1)
    chroma = brightest - smooth.min(-1)
    ink = (
        (green > np.maximum(red, blue) + 0.04)
        | ((chroma > 0.3) & (green > red))
        | ((chroma > 0.6) & (red == brightest))
    )
    ink = ndimage.binary_dilation(ink, iterations=PEN_EDGE)
    threshold = np.clip(otsu(chroma[~ink]), *CHROMA_LIMITS)
    return np.asarray((chroma > threshold) & (brightest > 0.2) & ~ink)


def otsu(values: npt.NDArray[np.float32]) -> float:
    """Threshold in [0, 1] that maximises the between-class variance (Otsu 1979).

    >>> round(otsu(np.float32([0.1, 0.1, 0.2, 0.8, 0.9])), 1)
    0.2
    """
    counts, edges = np.histogram(values, bins=256, range=(0, 1))
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts).astype(np.float64)
    above = below[-1] - below
    total = np.cumsum(counts * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (total / below - (total[-1] - total) / above) ** 2
    return float(edges[1 + int(np.nanargmax(np.nan_to_num(between)))])


def tissue_tiles(
    slide: Slide, tissue: Tissue, side: int, um_per_px: float, share: float = 0.5
) -> npt.NDArray[np.int64]:
    """Top left corners (N, 2) x, y of the tiles with tissue, in pixels of the finest level.

    The tiles have `side` px at `um_per_px` and form a grid from the slide's top left corner. A tile
    is selected if it lies completely within the slide and at least `share` of it is tissue.
    """
    step = side * slide.scale(um_per_px)
    columns, rows = (int(length / step + 1e-6) for length in slide.size)
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    corners = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64) * step
    shares = coverage(
        tissue.mask,
        corners / slide.scale(OVERVIEW_UM_PER_PX),
        step / slide.scale(OVERVIEW_UM_PER_PX),
    )
    selected: npt.NDArray[np.float64] = corners[shares >= share]
    return np.rint(selected).astype(np.int64)


def coverage(
    mask: npt.NDArray[np.bool_], corners: npt.NDArray[np.float64], side: float
) -> npt.NDArray[np.float64]:
    """Share (N,) of each square that a mask (H, W) covers.

    `corners` (N, 2) x, y and `side` are in px of the mask and are rounded to integers.
    """
    sums = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    limits = (mask.shape[1], mask.shape[0])
    first = np.minimum(np.rint(corners).astype(np.int64), np.array(limits) - 1)
    last = np.clip(np.rint(corners + side).astype(np.int64), first + 1, limits)
    (x0, y0), (x1, y1) = first.T, last.T
    inside = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return np.asarray(inside / ((x1 - x0) * (y1 - y0)))
