"""SimCLR: match a patch's two embeddings among all embeddings of the batch."""

import math
from itertools import combinations
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from morefromless.errors import ConfigError
from morefromless.objectives import Loss, Objective
from morefromless.objectives._cosine import info_nce, unit_rows


class SimCLR(Objective):
    """Cross entropy of identifying a patch's other embedding among those of other patches.

    Similarities are cosines divided by `temperature`. `convention` sets the negatives:

    `nt-xent`   The published method. An anchor has 2N - 2 negatives, including those of its own
                branch. The loss is the mean over the 2N anchors, as in lightly and solo-learn;
                Google's code returns twice this. For more branches: the mean over unordered pairs.
    `authors`   TriDeNT's code (More From Less published none). An anchor has N - 1 negatives, all
                from the other branch. The loss is half the sum of both directions, summed over
                unordered pairs of branches. The authors differentiate the sum over the batch; this
                class uses the mean.

    Terms: one per pair of branches, `contrastive_0_1` and so on, before the mean or sum. A batch
    of one has no negatives: its loss and gradient are 0. A row of zeros has cosines of 0, and the
    gradient of a row of norm 1: it is not divided by a small constant such as 1e-12.

    Source: Chen et al. 2020 (arXiv 2002.05709), equation 1. Temperature 0.5 as in More From Less.

    >>> import torch
    >>> embeddings = [torch.eye(4), torch.eye(4).roll(1, 0)]
    >>> loss = SimCLR()(embeddings)
    >>> round(loss.total.item(), 4), list(loss.terms)
    (2.5944, ['contrastive_0_1'])
    """

    def __init__(
        self,
        convention: Literal["nt-xent", "authors"] = "nt-xent",
        temperature: float = 0.5,
    ) -> None:
        super().__init__()
        if convention not in ("nt-xent", "authors"):
            raise ConfigError(f"SimCLR has no convention '{convention}'; use nt-xent or authors.")
        if not (math.isfinite(temperature) and temperature > 0):
            raise ConfigError(f"SimCLR needs temperature to be above 0, not {temperature}.")
        self.convention = convention
        self.temperature = temperature

    def compute(self, embeddings: list[Tensor]) -> Loss:
        directions = [unit_rows(branch) for branch in embeddings]
        terms = {
            f"contrastive_{i}_{j}": self._pair(directions[i], directions[j])
            for i, j in combinations(range(len(directions)), 2)
        }
        pairs = torch.stack(list(terms.values()))
        total = pairs.mean() if self.convention == "nt-xent" else pairs.sum()
        return Loss(total, terms)

    def _pair(self, first: Tensor, second: Tensor) -> Tensor:
        if self.convention == "nt-xent":
            return nt_xent(first, second, self.temperature).mean()
        first_to_second, second_to_first = info_nce(first, second, self.temperature)
        return (first_to_second + second_to_first).mean() / 2


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Loss per anchor, first branch first: (N, D), (N, D) with rows of norm 1 -> (2N,)."""
    rows = len(first)
    both = torch.cat([first, second])
    diagonal_mask = torch.eye(2 * rows, dtype=torch.bool, device=both.device)
    logits = (both @ both.T / temperature).masked_fill(diagonal_mask, -torch.inf)
    positives = torch.arange(2 * rows, device=both.device).roll(rows)
    return F.cross_entropy(logits, positives, reduction="none")
