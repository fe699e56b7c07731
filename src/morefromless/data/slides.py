"""Whole slides: read regions of any size at a magnification in µm per pixel.

Coordinates are in pixels of the slide's finest level, x to the right and y down.
`data.slide_readers` opens the files.
"""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse

from morefromless.data.areas import covered_share
from morefromless.errors import DataError, UnreadablePatch

RGB = npt.NDArray[np.uint8]

SCALE_TOLERANCE = 0.01
"""Relative difference of magnification up to which pixels are used unchanged, such as 0.499 µm for
0.5. Resampling would blur them."""
MAX_BLOCK = 2048
"""Maximum side in px of one read from a level; larger regions are read in blocks."""


class UnusableSlide(DataError):
    """A readable slide from which no tiles can be cut, for a reason of this `kind`."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def rejection_reason(error: DataError) -> str:
    """Why a slide is skipped, in the form of reasons of patches: a kind and a sentence.

    >>> rejection_reason(DataError("a.svs cannot be opened (damaged); download it again."))
    'unreadable slide: a.svs cannot be opened (damaged); download it again'
    """
    if isinstance(error, UnreadablePatch):
        return str(error)
    kind = error.kind if isinstance(error, UnusableSlide) else "unreadable slide"
    return f"{kind}: {str(error).removesuffix('.')}"


class Slide(ABC):
    """An open slide. Reading is thread-safe."""

    path: Path
    size: tuple[int, int]
    """Width and height of the finest level in px."""
    um_per_px: float | None
    """Scale of the finest level; None if neither the slide nor the user states it."""
    downsamples: tuple[float, ...]
    """Pixels of the finest level per pixel of each level, along a side, ascending from 1."""
    origin: tuple[int, int] = (0, 0)
    """x and y of the origin of QuPath's coordinates, which exclude the unscanned margin of MIRAX
    and SCN slides."""

    def scale(self, um_per_px: float) -> float:
        """Pixels of the finest level per pixel of this magnification, along a side.

        Raises `UnusableSlide` if the magnification of the slide is unknown.
        """
        if self.um_per_px is None:
            raise UnusableSlide(
                "magnification unknown",
                f"{self.path} does not state its µm per pixel; give it with --um-per-px.",
            )
        return um_per_px / self.um_per_px

    def check_resolution(
        self, um_per_px: float, option: str, tolerance: float = SCALE_TOLERANCE
    ) -> None:
        """Raise `UnusableSlide` if the slide is coarser than this magnification.

        `tolerance` is the accepted relative difference; `option` is the option that sets a coarser
        magnification.
        """
        if self.scale(um_per_px) < 1 - tolerance:
            raise UnusableSlide(
                "too coarse",
                f"{self.path.name} has {self.um_per_px:g} µm per px at best, coarser than "
                f"{um_per_px:g}; give {option} {self.um_per_px:g} or more.",
            )

    def read(self, x: float, y: float, width: int, height: int, um_per_px: float) -> RGB:
        """Read a region (height, width, 3) uint8 at this magnification, top left corner at (x, y).

        Pixels are area averages of the nearest finer level, as a microscope of this power would
        record them. Pixels outside the slide are white. Raises `UnreadablePatch` if the file is
        damaged in this region, `DataError` if the scale of the slide is unknown.
        """
        scale = self.scale(um_per_px)
        finer = [
            k
            for k, factor in enumerate(self.downsamples)
            if factor <= scale * (1 + SCALE_TOLERANCE)
        ]
        level = finer[-1] if finer else 0
        step = scale / self.downsamples[level]
        left, top = x / self.downsamples[level], y / self.downsamples[level]
        if abs(step - 1) <= SCALE_TOLERANCE:
            return self._pixels(level, round(left), round(top), width, height)
        region = np.empty((height, width, 3), np.uint8)
        block = max(1, int(MAX_BLOCK / step))
        for row in range(0, height, block):
            for column in range(0, width, block):
                part = region[row : row + block, column : column + block]
                part[:] = self._averaged(
                    level, left + column * step, top + row * step, part.shape[:2], step
                )
        return region

    def _averaged(
        self, level: int, left: float, top: float, shape: tuple[int, ...], step: float
    ) -> RGB:
        """Means over squares with sides of `step` level pixels, the first at (left, top)."""
        height, width = shape
        x, y = int(np.floor(left)), int(np.floor(top))
        right, bottom = int(np.ceil(left + width * step)), int(np.ceil(top + height * step))
        source = self._pixels(level, x, y, right - x, bottom - y).astype(np.float32)
        rows = interval_weights(bottom - y, top - y, step, height)
        columns = interval_weights(right - x, left - x, step, width)
        reduced = (rows @ source.reshape(bottom - y, -1)).reshape(height, -1, 3)
        flat = columns @ np.swapaxes(reduced, 0, 1).reshape(right - x, -1)
        means = np.swapaxes(flat.reshape(width, height, 3), 0, 1)
        return np.asarray(np.rint(means).clip(0, 255), dtype=np.uint8)

    @abstractmethod
    def _pixels(self, level: int, left: int, top: int, width: int, height: int) -> RGB:
        """Read pixels of a level; white outside it. Raises `UnreadablePatch`."""


def interval_weights(count: int, start: float, step: float, length: int) -> sparse.csr_array:
    """Sparse matrix (length, count) that averages a row of `count` pixels over `length` intervals.

    Each interval is `step` pixels long, the first starts at `start`. Partly covered pixels
    count with their fraction.

    >>> interval_weights(4, 0.5, 2, 1).toarray().tolist()
    [[0.25, 0.5, 0.25, 0.0]]
    """
    left = start + step * np.arange(length)
    reach = int(np.ceil(step)) + 1
    pixel = np.floor(left).astype(np.int64)[:, None] + np.arange(reach)
    inside = covered_share(left[:, None], step, pixel)
    rows = np.broadcast_to(np.arange(length)[:, None], pixel.shape)
    valid = (inside > 0) & (pixel < count)
    weights = (inside[valid] / step).astype(np.float32)
    return sparse.csr_array((weights, (rows[valid], pixel[valid])), shape=(length, count))
