"""Objectives: losses over the embeddings of two or more branches. An open set.

Objectives get only embeddings: no images, no labels, and no processes (the trainer gathers the
whole batch before it calls them). To add an objective, add a file with one public class deriving
from `Objective`. Its `__init__` parameters are the options of `--objective name:...`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from morefromless.errors import ConfigError
from morefromless.specs import Member


@dataclass(frozen=True)
class Loss:
    """The total to minimise, and its named terms before weighting (all scalars)."""

    total: Tensor
    terms: dict[str, Tensor]


class Objective(Member, nn.Module, ABC):
    """A loss over embeddings.

    It is called with one (N, D) tensor per branch; row i is the same patch in all tensors. It
    computes in float32, or in float64 if any tensor is float64, and ignores autocast. Raises
    `ConfigError` if the number of branches or rows is unsupported, or if `compute` does not return
    a `Loss` of scalars.
    """

    min_rows: int = 1
    """Minimum number of patches in a batch, over all processes."""
    n_branches: int | None = None
    """Number of branches that the objective requires, or None if it accepts two or more."""
    needs_teacher: bool = False
    """Whether the last branch is the representation of a frozen teacher that the others learn. If
    the teacher were trained too, both could become constant."""

    def __init__(self) -> None:
        super().__init__()

    @abstractmethod
    def compute(self, embeddings: list[Tensor]) -> Loss:
        """The loss of two or more branches: (N, D) each, float32 or float64, autocast off."""

    def forward(self, embeddings: Sequence[Tensor]) -> Loss:
        """The loss of one (N, D) tensor per branch, of any floating type."""
        self._check(embeddings)
        double = any(embedding.dtype == torch.float64 for embedding in embeddings)
        dtype = torch.float64 if double else torch.float32
        with torch.autocast(embeddings[0].device.type, enabled=False):
            loss = self.compute([embedding.to(dtype) for embedding in embeddings])
        scalars = [loss.total, *loss.terms.values()] if isinstance(loss, Loss) else [None]
        if not all(isinstance(value, Tensor) and value.numel() == 1 for value in scalars):
            raise ConfigError(
                f"{type(self).__name__}.compute must return a Loss whose total and terms are "
                "scalar tensors."
            )
        return loss

    def _check(self, embeddings: Sequence[Tensor]) -> None:
        name, count = type(self).__name__, len(embeddings)
        if self.n_branches not in (None, count):
            raise ConfigError(
                f"{name} compares {self.n_branches} branches, not {count}; use another arm or "
                "another objective."
            )
        if count < 2:
            raise ConfigError(f"{name} compares two or more branches, not {count}; add a modality.")
        shapes = [tuple(embedding.shape) for embedding in embeddings]
        if len(set(shapes)) > 1 or len(shapes[0]) != 2:
            raise ConfigError(
                f"{name} got embeddings of shapes {', '.join(map(str, shapes))}; "
                "every branch must return one row per patch, and all widths must be equal."
            )
        if shapes[0][0] < self.min_rows:
            raise ConfigError(
                f"{name} got a batch of {shapes[0][0]}, which is too small; "
                f"use a batch size of {self.min_rows} or more."
            )
