"""Relational distillation: a student learns the teacher's distances and angles between patches."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from morefromless.errors import ConfigError
from morefromless.objectives import Loss, Objective


class Relational(Objective):
    """Difference from a frozen teacher in distances between patches and angles of triples.

        total = distance * d + angle * a

    with d the Huber loss (linear above 1) between the pairwise distances of student and teacher,
    each divided by its mean over the pairs of the batch, and a the Huber loss between the cosines
    of the angle at j in every triple (i, j, k). Both are means over all ordered pairs or triples of
    different patches. The last branch is the teacher. With more than one student, the terms are
    averaged. Weights are 0 or more.

    Source: Park et al. 2019 (arXiv 1904.05068), equations 4 to 9. The paper uses sums, which differ
    by a constant factor.

    >>> import torch
    >>> square = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> round(Relational()([3 * square + 1, square]).total.item(), 6)  # the same shape
    0.0
    """

    needs_teacher = True
    min_rows = 3

    def __init__(self, distance: float = 25.0, angle: float = 50.0) -> None:
        super().__init__()
        for name, value in {"distance": distance, "angle": angle}.items():
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"Relational needs {name} to be 0 or more, not {value}.")
        self.weights = {"distance": distance, "angle": angle}

    def compute(self, embeddings: list[Tensor]) -> Loss:
        *students, teacher = map(squared_distances, embeddings)
        terms = {
            "distance": _mean_difference(students, teacher, distances, order=2),
            "angle": _mean_difference(students, teacher, angles, order=3),
        }
        total = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        return Loss(total, terms)


def squared_distances(embeddings: Tensor) -> Tensor:
    """Squared distance between all pairs of rows: (N, D) -> (N, N), 0 on the diagonal."""
    centred = embeddings - embeddings.mean(dim=0)
    gram = centred @ centred.T
    norms = gram.diagonal()
    squares = (norms[:, None] + norms - 2 * gram).clamp(min=0)
    return squares * (1 - torch.eye(len(squares), dtype=squares.dtype, device=squares.device))


def distances(squares: Tensor) -> Tensor:
    """Distances divided by their mean over pairs of different rows: (N, N) -> (N, N)."""
    roots = _root(squares)
    count = len(squares) * (len(squares) - 1)
    mean = roots.sum() / count
    return roots / torch.where(mean > 0, mean, 1.0)


def angles(squares: Tensor) -> Tensor:
    """Cosine of the angle at j between i and k: (N, N) squared distances -> (N, N, N) as [j, i, k].

    Uses the law of cosines, so no N x N x D array is needed. The result is 0 if row j equals i or
    k.
    """
    sides = _root(squares)
    products = (squares[:, :, None] + squares[:, None, :] - squares[None]) / 2
    lengths = sides[:, :, None] * sides[:, None, :]
    return torch.where(lengths > 0, products / torch.where(lengths > 0, lengths, 1.0), 0.0)


def _root(squares: Tensor) -> Tensor:
    """Square root with gradient 0 instead of infinity at 0."""
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)


def _mean_difference(
    students: list[Tensor], teacher: Tensor, relation: Callable[[Tensor], Tensor], order: int
) -> Tensor:
    """Mean Huber loss between a relation of students and of the teacher, over distinct rows."""
    teacher_relation = relation(teacher)
    count = math.prod(len(teacher) - place for place in range(order))
    distinct = torch.ones_like(teacher_relation)
    rows = torch.arange(len(teacher), device=teacher.device)
    if order == 2:
        distinct[rows, rows] = 0
    else:
        distinct[rows, rows, :] = distinct[rows, :, rows] = distinct[:, rows, rows] = 0
    losses = [
        (F.huber_loss(relation(student), teacher_relation, reduction="none") * distinct).sum()
        / count
        for student in students
    ]
    return torch.stack(losses).mean()
