"""Attention transfer: a student learns the spatial attention of its teacher's feature maps."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from morefromless.errors import ConfigError
from morefromless.objectives import Loss, Objective
from morefromless.objectives._cosine import unit_rows


class AttentionTransfer(Objective):
    """Distance between the attention maps of a student and of a frozen teacher, for one stage.

        weight / 2 * mean over patches and places of (s / |s| - t / |t|)²

    with s and t the maps of student and teacher as rows (`attention`). The student also learns the
    labels: its loss is the cross-entropy plus the sum of this distance over stages (`of_stages`).
    Terms: `distance`. `weight` is 0 or more.

    Source: Zagoruyko and Komodakis 2017 (arXiv 1612.03928), equation 2. Its beta is 1000 divided
    by the number of places and by the number of patches. Maps of different resolutions are compared
    as in arXiv 2401.06010.

    >>> import torch
    >>> maps = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    >>> AttentionTransfer()([2 * maps, maps]).total.item()  # the scale has no effect
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
        """Sum over stages of feature maps (N, channels, H, W), paired from the last stage.

        If one network has more stages, its first stages are skipped. The teacher's maps are
        resized to the student's.
        """
        losses = []
        for student_maps, teacher_maps in zip(reversed(student), reversed(teacher), strict=False):
            height, width = student_maps.shape[-2:]
            losses.append(self([attention(m, height, width) for m in (student_maps, teacher_maps)]))
        distances = [loss.terms["distance"] for loss in losses]
        total = torch.stack([loss.total for loss in losses]).sum()
        return Loss(total, {"distance": torch.stack(distances).mean()})


def attention(maps: Tensor, height: int, width: int) -> Tensor:
    """Mean of squares over channels, pooled by area to `height` x `width` places:
    (N, channels, H, W) -> (N, places)."""
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))  # squares need 32 bits
    strength = maps.square().mean(dim=1)
    return F.adaptive_avg_pool2d(strength, (height, width)).flatten(1)
