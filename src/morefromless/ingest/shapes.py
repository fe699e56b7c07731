"""The arrays that every patch of a store has, as stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from morefromless.data.store import main_image


@dataclass(frozen=True)
class ImageShape:
    """Shape of the square image of a patch in an array, as stored."""

    side: int
    channels: int = 3
    dtype: str = "uint8"
    """uint8 or uint16."""


@dataclass(frozen=True)
class Shape:
    """Shapes of all arrays of a patch: images and vectors."""

    images: Mapping[str, ImageShape]
    expected: Mapping[str, int] | None
    """Required side of each source image, or None if any side is accepted and resized."""
    vectors: Mapping[str, int] = field(default_factory=dict)
    """Name -> length."""
    optional: tuple[str, ...] = ()
    """Arrays that may be missing from a patch."""

    @property
    def arrays(self) -> tuple[str, ...]:
        return (*self.images, *self.vectors)

    def row(self, name: str) -> np.dtype[Any]:
        """The dtype of one row (one patch) of an array."""
        if name in self.vectors:
            return np.dtype((np.float32, (self.vectors[name],)))
        image = self.images[name]
        return np.dtype((image.dtype, (image.side, image.side, image.channels)))

    @property
    def side(self) -> int:
        """Stored side of the array that defines the magnification of a patch."""
        return self.images[main_image(self.images)].side

    @property
    def bytes(self) -> int:
        """Bytes per patch."""
        return sum(self.row(name).itemsize for name in self.arrays)

    @property
    def batch(self) -> int:
        """Patches that a process decodes before it writes them: a power of two, at most 64 patches
        and, if more than one, at most 16 MiB."""
        return 1 << min(6, max(0, (2**24 // self.bytes).bit_length() - 1))
