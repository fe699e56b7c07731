"""Area averages along a line of pixels, fractions of pixels included."""

from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
F = TypeVar("F", np.float32, np.float64)


@lru_cache(maxsize=64)  # thumbnails ask for every patch
def area_weights(side: int, size: int, dtype: type[F]) -> npt.NDArray[F]:
    """The matrix (size, side) of the means over `size` equal parts of `side` pixels, computed in
    float64.

    The result is shared: do not change it.

    >>> area_weights(4, 2, np.float32).tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    left = np.arange(size)[:, None] * side / size
    inside = covered(left, side / size, np.arange(side)).clip(min=0)
    return (inside * size / side).astype(dtype)


def covered(
    left: npt.NDArray[np.floating[Any]], length: float, pixel: npt.NDArray[np.int64]
) -> Floats:
    """How much of each pixel the interval of `length` pixels from `left` on covers; 0 or less where
    it does not reach that pixel. Arrays are broadcast."""
    share: Floats = np.minimum(left + length, pixel + 1) - np.maximum(left, pixel)
    return share
