"""CLIP: match each patch's embeddings across two branches, at a learned temperature."""

import math
from itertools import combinations

import torch
from torch import Tensor, nn

from morefromless.errors import ConfigError
from morefromless.objectives import Loss, Objective
from morefromless.objectives._cosine import info_nce, unit_rows

MAX_SCALE = 100.0
"""Maximum factor of the cosines, as published; it keeps training stable."""


class Clip(Objective):
    """Symmetric cross entropy over the cosines of two branches, divided by a temperature.

    Each patch has N - 1 negatives, all from the other branch. The loss is the mean over both
    directions and the batch. The logarithm of the temperature is learned; the temperature is at
    least 1/100. `learned=false` fixes it. All pairs of branches share one temperature. For more
    branches, the loss is the mean over unordered pairs. Terms: `contrastive_0_1` and so on, and the
    `temperature`.

    Source: Radford et al. 2021 (arXiv 2103.00020), figure 3, with the initial temperature 0.07. At
    a fixed temperature and with two branches, it equals `simclr:authors`.

    >>> import torch
    >>> embeddings = [torch.eye(4), torch.eye(4).roll(1, 0)]
    >>> loss = Clip()(embeddings)
    >>> round(loss.total.item(), 4), list(loss.terms)
    (14.2857, ['contrastive_0_1', 'temperature'])
    """

    def __init__(self, temperature: float = 0.07, learned: bool = True) -> None:
        super().__init__()
        if not (math.isfinite(temperature) and temperature * MAX_SCALE >= 1 - 1e-9):
            raise ConfigError(
                f"CLIP needs temperature to be {1 / MAX_SCALE:g} or more, not {temperature}."
            )
        log_scale = torch.tensor(-math.log(temperature), dtype=torch.float64)
        self.log_scale = nn.Parameter(log_scale.float(), requires_grad=learned)

    def compute(self, embeddings: list[Tensor]) -> Loss:
        with torch.no_grad():  # not in the graph: beyond the maximum, a clamp has no gradient
            self.log_scale.clamp_(max=math.log(MAX_SCALE))
        scale = self.log_scale.to(embeddings[0].dtype).exp()
        directions = [unit_rows(branch) for branch in embeddings]
        terms = {}
        for i, j in combinations(range(len(directions)), 2):
            first_to_second, second_to_first = info_nce(directions[i] * scale, directions[j], 1)
            terms[f"contrastive_{i}_{j}"] = (first_to_second + second_to_first).mean() / 2
        total = torch.stack(list(terms.values())).mean()
        return Loss(total, {**terms, "temperature": 1 / scale.detach()})
