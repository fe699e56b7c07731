"""Views: random draws of a modality. An open set.

Each member is a *preset* of augmentations, drawn independently for every patch and branch, batched
on the device that trains. To add one, add a file with one public class deriving from `Views`.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from morefromless.specs import Member


class Views(Member, ABC):
    """A preset of augmentations."""

    @abstractmethod
    def draw(self, patches: Tensor, generator: torch.Generator) -> Tensor:
        """One view per patch: (B, 3, S, S) float32 in [0, 1] -> the same shape and range.

        All randomness comes from `generator`, which lives on the patches' device: the same
        generator state gives the same views. The input is not changed.
        """

    def draw_labels(self, masks: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """One view per mask, of a modality whose pixels are labels: (B, C, S, S), any C.

        The preset's geometry by nearest neighbour and none of its colours, so that every value of
        a view is one of its mask's. A preset without geometry leaves masks as they are.
        """
        return masks.detach().clone()

    def draw_vectors(self, vectors: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """One view per vector, (B, length) float32 -> the same shape.

        A preset without augmentations for vectors leaves them as they are.
        """
        return vectors.detach().clone()
