"""Objectives: what is minimised, over the embeddings of two or more branches. An open set.

Objectives see embeddings and nothing else: no images, no labels, no processes (the trainer gathers
the whole batch before it calls them). To add one, add a file with one public class deriving from
`Objective`; its `__init__` parameters are what `--objective name:...` can set.
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
    """What is minimised, and its named parts before weighting (all scalars)."""

    total: Tensor
    terms: dict[str, Tensor]


class Objective(Member, nn.Module, ABC):
    """A loss over embeddings.

    Called with one (N, D) tensor per branch, row i of each being the same patch, it computes in
    float32, or float64 where one of them is, whatever the autocast. Raises `ConfigError` where the
    number of branches or of rows cannot be used, or `compute` gives anything but a `Loss`.
    """

    min_rows: int = 1
    """Patches that a batch must have, over all processes."""
    n_branches: int | None = None
    """Branches that are compared, where the objective is defined for one number of them only."""
    needs_teacher: bool = False
    """Whether the last branch is the representation of a frozen teacher, which the others learn;
    if that were trained too, both could become constant."""

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
                f"{type(self).__name__}.compute must give a Loss whose total and terms are scalar "
                "tensors."
            )
        return loss

    def _check(self, embeddings: Sequence[Tensor]) -> None:
        name, count = type(self).__name__, len(embeddings)
        if self.n_branches not in (None, count):
            raise ConfigError(
                f"{name} compares {self.n_branches} branches, not {count}; choose another arm or "
                "another objective."
            )
        if count < 2:
            raise ConfigError(f"{name} compares two or more branches, not {count}; add a modality.")
        shapes = [tuple(embedding.shape) for embedding in embeddings]
        if len(set(shapes)) > 1 or len(shapes[0]) != 2:
            raise ConfigError(
                f"{name} got embeddings of shapes {', '.join(map(str, shapes))}; "
                "every branch must give one row per patch, all of the same width."
            )
        if shapes[0][0] < self.min_rows:
            raise ConfigError(
                f"{name} got a batch of {shapes[0][0]}, too few to compare; "
                f"use a batch size of {self.min_rows} or more."
            )
