"""What every patch of a store has: its arrays, as they are stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from morefromless.data.store import main_image


@dataclass(frozen=True)
class ImageShape:
    """What an array holds of each patch: a square image, as stored."""

    side: int
    channels: int = 3
    dtype: str = "uint8"
    """uint8 or uint16."""


@dataclass(frozen=True)
class Shape:
    """What every patch of the store has: images, one shape an array, and vectors."""

    images: Mapping[str, ImageShape]
    expected: Mapping[str, int] | None
    """Side of each array that a source must give; None where all are taken, to be resized."""
    vectors: Mapping[str, int] = field(default_factory=dict)
    """Name to length."""
    optional: tuple[str, ...] = ()
    """Those of the arrays that a patch may lack."""

    @property
    def arrays(self) -> tuple[str, ...]:
        return (*self.images, *self.vectors)

    def row(self, name: str) -> np.dtype[Any]:
        """What is stored of one patch in an array."""
        if name in self.vectors:
            return np.dtype((np.float32, (self.vectors[name],)))
        image = self.images[name]
        return np.dtype((image.dtype, (image.side, image.side, image.channels)))

    @property
    def side(self) -> int:
        """Side as stored of the array that a patch's magnification is of."""
        return self.images[main_image(self.images)].side

    @property
    def bytes(self) -> int:
        """Bytes of one patch."""
        return sum(self.row(name).itemsize for name in self.arrays)

    @property
    def batch(self) -> int:
        """Patches that a process decodes before it writes them: a power of two up to 64, of 16 MiB
        at most."""
        return 1 << min(6, max(0, (2**24 // self.bytes).bit_length() - 1))
