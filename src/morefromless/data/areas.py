"""Area averages along a line of pixels, with fractions of pixels."""

from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
F = TypeVar("F", np.float32, np.float64)


@lru_cache(maxsize=64)  # called for the thumbnail of every patch
def area_weights(side: int, size: int, dtype: type[F]) -> npt.NDArray[F]:
    """Matrix (size, side) of the means over `size` equal parts of `side` pixels.

    It is computed in float64. The result is cached and shared: do not modify it.

    >>> area_weights(4, 2, np.float32).tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    left = np.arange(size)[:, None] * side / size
    inside = covered_share(left, side / size, np.arange(side)).clip(min=0)
    return (inside * size / side).astype(dtype)


def nearest_pixels(side: int, size: int) -> npt.NDArray[np.intp]:
    """The middle pixel of each of `size` equal parts of `side` pixels.

    >>> nearest_pixels(6, 2).tolist()
    [1, 4]
    """
    return ((np.arange(size) + 0.5) * side / size).astype(np.intp)


def covered_share(
    left: npt.NDArray[np.floating[Any]], length: float, pixel: npt.NDArray[np.int64]
) -> Floats:
    """Share of each pixel that the interval [`left`, `left + length`] covers; 0 or less if it does
    not reach the pixel. Arrays are broadcast."""
    share: Floats = np.minimum(left + length, pixel + 1) - np.maximum(left, pixel)
    return share
