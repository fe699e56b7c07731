"""Barlow Twins: two branches agree in every dimension, and dimensions are not redundant."""

import math
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

from morefromless.errors import ConfigError
from morefromless.objectives import Loss, Objective


class BarlowTwins(Objective):
    """Distance of the cross-correlation matrix of two branches from the identity.

    With C (D, D) the correlations over the batch: total = Σ (1 - C_ii)² + off_diagonal Σ C_ij².
    `convention` sets the divisor of each dimension. `official`: √(variance + 1e-5), as BatchNorm
    without its affine part. `authors`, the paper's code: standard deviation + 1e-4. Both variances
    are biased. For more branches: the mean over unordered pairs.

    Terms: `on_diagonal` and `off_diagonal`, before weighting. A constant dimension has correlation
    0: it costs 1 and its gradient is 0. If N < D, the D x D matrix is never formed.

    Source: Zbontar et al. 2021 (arXiv 2103.03230), equations 1 and 2, with weight 0.005.

    >>> import torch
    >>> embeddings = [torch.eye(4), torch.eye(4).roll(1, 0)]
    >>> loss = BarlowTwins()(embeddings)
    >>> round(loss.total.item(), 4), list(loss.terms)
    (7.1354, ['on_diagonal', 'off_diagonal'])
    """

    min_rows = 2

    def __init__(
        self,
        convention: Literal["official", "authors"] = "official",
        off_diagonal: float = 0.005,
    ) -> None:
        super().__init__()
        if convention not in ("official", "authors"):
            raise ConfigError(
                f"Barlow Twins has no convention '{convention}'; use official or authors."
            )
        if not (math.isfinite(off_diagonal) and off_diagonal >= 0):
            raise ConfigError(f"Barlow Twins needs off_diagonal to be 0 or more: {off_diagonal}.")
        self.convention = convention
        self.weight = off_diagonal

    def compute(self, embeddings: list[Tensor]) -> Loss:
        scaled = [self._scaled(branch) for branch in embeddings]
        sums = [correlations(a, b) for a, b in combinations(scaled, 2)]
        on, off = (torch.stack(values).mean() for values in zip(*sums, strict=True))
        return Loss(on + self.weight * off, {"on_diagonal": on, "off_diagonal": off})

    def _scaled(self, branch: Tensor) -> Tensor:
        centred = branch - branch.mean(dim=0)
        variance = centred.square().mean(dim=0)
        if self.convention == "official":
            return centred / torch.sqrt(variance + 1e-5)
        # The root has no gradient at 0. A dimension without variance is 0 for any divisor.
        varies = variance > 0
        deviation = torch.where(varies, torch.where(varies, variance, 1.0).sqrt(), 0.0)
        return centred / (deviation + 1e-4)


def correlations(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Σ (1 - C_ii)² and Σ over i ≠ j of C_ij², with C = first'second / N: (N, D) twice -> scalars.

    If N < D, the second is the sum of (first first') ∘ (second second') / N² minus the squares of
    the diagonal, so no D x D matrix is needed.
    """
    rows, width = first.shape
    diagonal = (first * second).mean(dim=0)
    on = (1 - diagonal).square().sum()
    if rows < width:
        squares = ((first @ first.T) * (second @ second.T)).sum() / rows**2
        return on, squares - diagonal.square().sum()
    matrix = first.T @ second / rows
    diagonal_mask = torch.eye(width, dtype=torch.bool, device=matrix.device)
    return on, matrix.masked_fill(diagonal_mask, 0).square().sum()
