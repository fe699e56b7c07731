"""Attention transfer: a student's feature maps are strong where its teacher's are."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from morefromless.errors import ConfigError
from morefromless.objectives import Loss, Objective
from morefromless.objectives._cosine import unit_rows


class AttentionTransfer(Objective):
    """Distance of a student's attention maps from a frozen teacher's, of one stage of each.

        weight / 2 * mean over patches and places of (s / |s| - t / |t|)²

    with s and t the maps of student and teacher as rows (`attention`). The student learns the
    labels too: its loss is the cross-entropy and the sum of this over stages (`of_stages`). Terms:
    `distance`. `weight` is 0 or more.

    Source: Zagoruyko and Komodakis 2017 (arXiv 1612.03928), equation 2, whose beta is 1000 divided
    by the numbers of places and of patches; between resolutions as in arXiv 2401.06010.

    >>> import torch
    >>> maps = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    >>> AttentionTransfer()([2 * maps, maps]).total.item()  # strength has no part in it
    0.0
    """

    n_branches = 2
    needs_teacher = True

    def __init__(self, weight: float = 1000.0) -> None:
        super().__init__()
        if not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(f"Attention transfer needs weight to be 0 or more, not {weight}.")
        self.weight = weight

    def compute(self, embeddings: list[Tensor]) -> Loss:
        student, teacher = map(unit_rows, embeddings)
        distance = (student - teacher).square().mean()
        return Loss(self.weight / 2 * distance, {"distance": distance})

    def of_stages(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Loss:
        """The sum over stages, counted from the last, of feature maps (N, channels, H, W) each;
        where one has more stages, its first are left out. The teacher's are resized."""
        losses = []
        for maps, others in zip(reversed(student), reversed(teacher), strict=False):
            height, width = maps.shape[-2:]
            losses.append(self([attention(m, height, width) for m in (maps, others)]))
        distances = [loss.terms["distance"] for loss in losses]
        total = torch.stack([loss.total for loss in losses]).sum()
        return Loss(total, {"distance": torch.stack(distances).mean()})


def attention(maps: Tensor, height: int, width: int) -> Tensor:
    """Mean over channels of the squares, averaged over areas to `height` x `width` places:
    (N, channels, H, W) -> (N, places)."""
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))  # squares, whatever autocast
    strength = maps.square().mean(dim=1)
    return F.adaptive_avg_pool2d(strength, (height, width)).flatten(1)
