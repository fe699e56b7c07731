"""Regression: a student's embedding predicts its teacher's representation of the same patch."""

from typing import Literal

import torch
from torch import Tensor

from morefromless.objectives import Loss, Objective
from morefromless.objectives._cosine import unit_rows


class Regression(Objective):
    """Distance between students' embeddings and a frozen teacher's representation.

    `mse`     mean over patches and dimensions of the squared difference.
    `cosine`  mean over patches of 1 - cosine of the two.

    The last branch is the teacher. With more than one student, the distances are averaged.
    Terms: `distance`.

    Source: Romero et al. 2015 (FitNets, arXiv 1412.6550), equation 3, at the last layer. Here, the
    regressor is the student's expander.

    >>> import torch
    >>> Regression()([torch.zeros(2, 4), torch.ones(2, 4)]).total.item()
    1.0
    """

    needs_teacher = True

    def __init__(self, distance: Literal["mse", "cosine"] = "mse") -> None:
        super().__init__()
        self.distance = distance

    def compute(self, embeddings: list[Tensor]) -> Loss:
        *students, teacher = embeddings
        measure = mean_squared_error if self.distance == "mse" else cosine_distance
        distance = torch.stack([measure(student, teacher) for student in students]).mean()
        return Loss(distance, {"distance": distance})


def mean_squared_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference: (N, D), (N, D) -> scalar."""
    return (student - teacher).square().mean()


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over patches of 1 - cosine: (N, D), (N, D) -> scalar."""
    return 1 - (unit_rows(student) * unit_rows(teacher)).sum(dim=1).mean()
