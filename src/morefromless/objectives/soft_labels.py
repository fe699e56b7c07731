"""Soft labels: a classifier learns the class probabilities of its teacher at a temperature."""

import math

import torch.nn.functional as F
from torch import Tensor

from morefromless.errors import ConfigError
from morefromless.objectives import Loss, Objective


class SoftLabels(Objective):
    """Divergence of a student's softened class probabilities from its teacher's.

        temperature² * mean over patches of KL(softmax(t / temperature), softmax(s / temperature))

    with s and t the logits of student and teacher. The square keeps the scale of the gradients
    similar at every temperature. The student also learns the labels: its loss is `weight` times
    this divergence plus (1 - `weight`) times the cross-entropy. Terms: `divergence`. `temperature`
    is above 0, `weight` from 0 to 1.

    Source: Hinton et al. 2015 (arXiv 1503.02531), section 2.

    >>> import torch
    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    >>> SoftLabels()([logits + 3, logits]).total.abs().item() < 1e-6  # the same softmax
    True
    """

    n_branches = 2
    needs_teacher = True

    def __init__(self, temperature: float = 4.0, weight: float = 0.9) -> None:
        super().__init__()
        if not (math.isfinite(temperature) and temperature > 0):
            raise ConfigError(f"Soft labels need temperature to be above 0, not {temperature}.")
        if not 0 <= weight <= 1:
            raise ConfigError(f"Soft labels need weight to be from 0 to 1, not {weight}.")
        self.temperature, self.weight = temperature, weight

    def compute(self, embeddings: list[Tensor]) -> Loss:
        student, teacher = (F.log_softmax(z / self.temperature, dim=1) for z in embeddings)
        divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
        return Loss(self.temperature**2 * divergence, {"divergence": divergence})
