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
    """A loss over embeddings."""

    @abstractmethod
    def forward(self, embeddings: Sequence[Tensor]) -> Loss:
        """`embeddings`: one (N, D) tensor per branch, row i of each being the same patch.

        Computes in float32 or better whatever the autocast; float64 in, float64 out.
        Raises `ConfigError` where the number of branches or of rows cannot be used.
        """


def comparable(
    embeddings: Sequence[Tensor], objective: str, rows: int = 1, branches: int | None = None
) -> list[Tensor]:
    """The embeddings in float32, or in float64 where one is, after checking their shapes.

    Every objective begins with it: two or more branches, or `branches` of them where the objective
    is defined for no other number; (N, D) each, with N at least `rows`. Raises `ConfigError` in the
    name of `objective` otherwise.
    """
    if branches is not None and len(embeddings) != branches:
        raise ConfigError(
            f"{objective} compares {branches} branches, not {len(embeddings)}; choose another arm "
            "or another objective."
        )
    if len(embeddings) < 2:
        raise ConfigError(
            f"{objective} compares two or more branches, not {len(embeddings)}; add a modality."
        )
    shapes = [tuple(embedding.shape) for embedding in embeddings]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2:
        raise ConfigError(
            f"{objective} got embeddings of shapes {', '.join(map(str, shapes))}; "
            "every branch must give one row per patch, all of the same width."
        )
    if shapes[0][0] < rows:
        raise ConfigError(
            f"{objective} got a batch of {shapes[0][0]}, too few to compare; "
            f"use a batch size of {max(rows, 1)} or more."
        )
    double = any(embedding.dtype == torch.float64 for embedding in embeddings)
    return [embedding.to(torch.float64 if double else torch.float32) for embedding in embeddings]
