"""The stored patch with all its information."""

from dataclasses import dataclass

from torch import Tensor

from morefromless.modalities import Modality
from morefromless.modalities._resize import bilinear_matrices, resize, square_side


@dataclass(frozen=True)
class Full(Modality):
    """The stored patch, resized to the network's size.

    Unchanged if the sizes are equal, bilinear if the network's input is larger, and antialiased
    bilinear if it is smaller.

    >>> import torch
    >>> Full().render(torch.zeros(2, 8, 8, 3, dtype=torch.uint8), size=16).shape
    torch.Size([2, 3, 16, 16])
    """

    array: str = "he"

    def render(self, patches: Tensor, size: int) -> Tensor:
        """(B, H, H, 3) uint8 -> (B, 3, size, size) float32 in [0, 1], on the same device."""
        return resize(patches, *self.matrices(square_side(patches), size))

    def matrices(self, side: int, size: int) -> tuple[Tensor, ...]:
        return bilinear_matrices(side, size)
