"""No augmentation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from morefromless.views import Views


@dataclass(frozen=True)
class Plain(Views):
    """The patch as its modality renders it, for evaluation or training without augmentation."""

    def augment(
        self,
        patches: Tensor,
        generator: torch.Generator,  # noqa: ARG002
        geometry: torch.Generator | None = None,  # noqa: ARG002
    ) -> Tensor:
        """A copy of `patches`, (B, 3, S, S) float32 in [0, 1]; nothing is drawn."""
        return patches.detach().clone()
