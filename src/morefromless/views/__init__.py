"""Views: random draws of a modality. An open set.

Each member is a *preset* of augmentations, drawn independently for every patch and branch, batched
on the device that trains. To add one, add a file with one public class deriving from `Views`.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Views(ABC):
    """A preset of augmentations."""

    @abstractmethod
    def draw(self, patches: Tensor, generator: torch.Generator) -> Tensor:
        """One view per patch: (B, 3, S, S) float32 in [0, 1] -> the same shape and range.

        All randomness comes from `generator`, which lives on the patches' device: the same
        generator state gives the same views. The input is not changed.
        """
