"""Whole slides: regions of any size, read at a magnification in µm per pixel.

Places are in pixels of the slide's finest level, x to the right and y down. `data.slide_readers`
opens the files.
"""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse

from morefromless.data.areas import covered
from morefromless.errors import DataError, UnreadablePatch

RGB = npt.NDArray[np.uint8]

NEAR = 0.01
"""Relative difference of magnification below which pixels are taken as they are: one of 0.499 µm
for 0.5. Resampling would blur them."""
BLOCK = 2048
"""Side in px of what is read from a level at once; more is read block by block."""


class UnusableSlide(DataError):
    """A slide that can be read, and that gives no tiles for a reason of this `kind`."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def rejection(error: DataError) -> str:
    """Why a slide among others is left out, as reasons of patches are: a kind and a sentence.

    >>> rejection(DataError("a.svs cannot be opened as a slide (damaged); fetch it again."))
    'unreadable slide: a.svs cannot be opened as a slide (damaged); fetch it again'
    """
    if isinstance(error, UnreadablePatch):
        return str(error)
    kind = error.kind if isinstance(error, UnusableSlide) else "unreadable slide"
    return f"{kind}: {str(error).removesuffix('.')}"


class Slide(ABC):
    """A slide that is open. Reading is safe from several threads."""

    path: Path
    size: tuple[int, int]
    """Width and height of the finest level in px."""
    um_per_px: float | None
    """Of the finest level; None where the slide does not state it and nobody gave it."""
    downsamples: tuple[float, ...]
    """Pixels of the finest level along one pixel of each level, ascending from 1."""
    origin: tuple[int, int] = (0, 0)
    """x and y where QuPath's frame begins, which leaves out what a MIRAX or SCN slide has not
    scanned."""

    def scale(self, um_per_px: float) -> float:
        """Pixels of the finest level along one pixel of this magnification.

        Raises `UnusableSlide` where the slide does not state its own.
        """
        if self.um_per_px is None:
            raise UnusableSlide(
                "magnification unknown",
                f"{self.path} does not state its µm per pixel; give it with --um-per-px.",
            )
        return um_per_px / self.um_per_px

    def refuse_enlarging(self, um_per_px: float, option: str, tolerance: float = NEAR) -> None:
        """Raise `UnusableSlide` where the slide is coarser than this magnification by more than a
        share of `tolerance`; `option` is where a person asks for a coarser one."""
        if self.scale(um_per_px) < 1 - tolerance:
            raise UnusableSlide(
                "too coarse",
                f"{self.path.name} has {self.um_per_px:g} µm per px at best, coarser than "
                f"{um_per_px:g}; give {option} {self.um_per_px:g} or more.",
            )

    def read(self, x: float, y: float, width: int, height: int, um_per_px: float) -> RGB:
        """A region (height, width, 3) uint8 of this magnification, its top left corner at (x, y).

        It comes from the nearest finer level, by area averages: what a microscope of this power
        would record. Beyond the slide is white. Raises `UnreadablePatch` where the file is damaged
        there, `DataError` where the slide does not state its scale.
        """
        scale = self.scale(um_per_px)
        finer = [k for k, factor in enumerate(self.downsamples) if factor <= scale * (1 + NEAR)]
        level = finer[-1] if finer else 0
        step = scale / self.downsamples[level]
        left, top = x / self.downsamples[level], y / self.downsamples[level]
        if abs(step - 1) <= NEAR:
            return self._pixels(level, round(left), round(top), width, height)
        region = np.empty((height, width, 3), np.uint8)
        block = max(1, int(BLOCK / step))
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
        """Means over squares of `step` level pixels, the first at (left, top)."""
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
        """Pixels of a level; white beyond it. Raises `UnreadablePatch`."""


def interval_weights(count: int, start: float, step: float, length: int) -> sparse.csr_array:
    """The matrix (length, count) that takes `count` pixels in a row to the means over `length`
    intervals of `step` pixels from `start` on, fractions of pixels included.

    >>> interval_weights(4, 0.5, 2, 1).toarray().tolist()
    [[0.25, 0.5, 0.25, 0.0]]
    """
    left = start + step * np.arange(length)
    reach = int(np.ceil(step)) + 1
    pixel = np.floor(left).astype(np.int64)[:, None] + np.arange(reach)
    inside = covered(left[:, None], step, pixel)
    rows = np.broadcast_to(np.arange(length)[:, None], pixel.shape)
    valid = (inside > 0) & (pixel < count)
    weights = (inside[valid] / step).astype(np.float32)
    return sparse.csr_array((weights, (rows[valid], pixel[valid])), shape=(length, count))
