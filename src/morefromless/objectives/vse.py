"""VSE++: a patch's two embeddings are more similar than any others, by a margin."""

import math
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

from morefromless.errors import ConfigError
from morefromless.objectives import Loss, Objective
from morefromless.objectives._cosine import unit_rows


class Vse(Objective):
    """Hinge on the cosines of two branches: max(0, margin - own + other), in both directions.

    `negatives=hardest` uses the hardest negative of the batch (VSE++); `negatives=all` sums over
    all negatives (VSE0). The loss is the *sum* over the batch and both directions, as published, so
    it grows with the batch size. For more branches: the mean over unordered pairs.

    Terms: `hinge_0_1` and so on. If several negatives are equally hard, one of them gets the
    gradient. A batch of one has no negatives: its loss is 0.

    Source: Faghri et al. 2018 (arXiv 1707.05612), equations 5 and 6, with margin 0.2.

    >>> import torch
    >>> embeddings = [torch.eye(4), torch.eye(4).roll(1, 0)]
    >>> loss = Vse()(embeddings)
    >>> round(loss.total.item(), 4), list(loss.terms)
    (9.6, ['hinge_0_1'])
    """

    def __init__(
        self, negatives: Literal["hardest", "all"] = "hardest", margin: float = 0.2
    ) -> None:
        super().__init__()
        if negatives not in ("hardest", "all"):
            raise ConfigError(f"VSE has no negatives '{negatives}'; use hardest or all.")
        if not (math.isfinite(margin) and margin > 0):
            raise ConfigError(f"VSE needs margin to be above 0, not {margin}.")
        self.negatives = negatives
        self.margin = margin

    def compute(self, embeddings: list[Tensor]) -> Loss:
        directions = [unit_rows(branch) for branch in embeddings]
        terms = {
            f"hinge_{i}_{j}": self._pair(directions[i], directions[j])
            for i, j in combinations(range(len(directions)), 2)
        }
        total = torch.stack(list(terms.values())).mean()
        return Loss(total, terms)

    def _pair(self, first: Tensor, second: Tensor) -> Tensor:
        cosines = first @ second.T
        matching = cosines.diagonal()
        diagonal_mask = torch.eye(len(matching), dtype=torch.bool, device=matching.device)
        costs = [
            torch.relu(self.margin - matching[:, None] + cosines).masked_fill(diagonal_mask, 0),
            torch.relu(self.margin - matching[None, :] + cosines).masked_fill(diagonal_mask, 0).T,
        ]
        if self.negatives == "hardest":
            return torch.stack([cost.max(dim=1).values.sum() for cost in costs]).sum()
        return torch.stack([cost.sum() for cost in costs]).sum()
