"""Random numbers and directions that are identical on all machines.

Synthetic pictures can differ between machines for two reasons: the algorithms of random generators
change between NumPy versions, and the last bit of functions such as sin and exp depends on the
processor. This package therefore uses only the *raw bits* of PCG64, which NumPy keeps stable
(unlike its `Generator` methods). It computes in float64 with only additions, products, quotients
and square roots, whose rounding IEEE 754 defines. No sum runs over an axis (its order depends on
the vector unit), and directions come from a rounded table.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

_DIRECTIONS = 1024
_ANGLES = np.arange(_DIRECTIONS) * (2 * np.pi / _DIRECTIONS)
# Multiples of 2^-20: no cosine of this table is near a rounding boundary (a test checks this).
COSINE: Floats = np.round(np.cos(_ANGLES) * 2**20) / 2**20
SINE: Floats = np.round(np.sin(_ANGLES) * 2**20) / 2**20


class Rng:
    """A stream of random numbers that depends only on its key of non-negative integers."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def uniforms(self, low: float, high: float, shape: int | tuple[int, ...]) -> Floats:
        """Uniform in [low, high), of the given shape."""
        count = shape if isinstance(shape, int) else int(np.prod(shape))
        raw = self._bits.random_raw(count) >> np.uint64(11)
        return (low + (high - low) * (raw.astype(np.float64) * 2.0**-53)).reshape(shape)

    def uniform(self, low: float, high: float) -> float:
        """One number, uniform in [low, high)."""
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * 2.0**-53)

    def bernoulli(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform(0.0, 1.0) < probability

    def order(self, count: int) -> npt.NDArray[np.int64]:
        """The numbers 0 ... count - 1 in random order."""
        return np.argsort(self.uniforms(0.0, 1.0, count), kind="stable")

    def grain(self, shape: tuple[int, ...]) -> npt.NDArray[np.int8]:
        """Triangular integer noise in -3 ... 3, with mean 0 and standard deviation 1.58."""
        count = int(np.prod(shape))
        raw = self._bits.random_raw(-(-count // 8)).astype("<u8")  # fixed byte order
        octets = raw.view(np.uint8)[:count].reshape(shape)
        return (octets & 3).astype(np.int8) - ((octets >> 2) & 3).astype(np.int8)

    def directions(self, count: int) -> tuple[Floats, Floats]:
        """Unit vectors, x and y, of random direction."""
        return circle(self.uniforms(0.0, 1.0, count))

    def direction(self) -> tuple[float, float]:
        """One unit vector of random direction."""
        angle = int(self.uniform(0, _DIRECTIONS))
        return float(COSINE[angle]), float(SINE[angle])


def circle(turns: Floats) -> tuple[Floats, Floats]:
    """Unit vectors, x and y, at these fractions of a full turn (any number, any shape)."""
    angle = np.floor(turns * _DIRECTIONS).astype(np.int64) & (_DIRECTIONS - 1)
    return COSINE[angle], SINE[angle]


def unit(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Scale (x, y) to length one; vectors of length zero become (1, 0)."""
    length = np.sqrt(x * x + y * y)
    still = length == 0.0
    length = np.where(still, 1.0, length)
    return np.where(still, 1.0, x / length), y / length
