"""Objectives of students of a frozen teacher against naive float64 loops."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from morefromless.errors import ConfigError
from morefromless.objectives.attention_transfer import AttentionTransfer, attention
from morefromless.objectives.regression import Regression
from morefromless.objectives.relational import Relational
from morefromless.objectives.soft_labels import SoftLabels


def draw(rows: int = 6, width: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, rows, width, generator=generator, dtype=torch.float64)
    return student.requires_grad_(), teacher


def huber(difference: float) -> float:
    size = abs(difference)
    return size * size / 2 if size < 1 else size - 0.5


def test_regression_equals_the_naive_distance() -> None:
    student, teacher = draw()
    rows = list(zip(student.tolist(), teacher.tolist(), strict=True))
    squares = [(a - b) ** 2 for x, y in rows for a, b in zip(x, y, strict=True)]
    cosines = [
        sum(a * b for a, b in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y))
        for x, y in rows
    ]
    mse, cosine = Regression("mse"), Regression("cosine")
    assert mse([student, teacher]).total.item() == pytest.approx(sum(squares) / len(squares))
    assert cosine([student, teacher]).total.item() == pytest.approx(1 - sum(cosines) / len(rows))


def test_several_students_are_averaged() -> None:
    first, teacher = (z.detach() for z in draw())
    for objective in (Regression("mse"), Regression("cosine"), Relational()):
        separate = [float(objective([student, teacher]).total) for student in (first, first.sin())]
        combined = objective([first, first.sin(), teacher]).total
        assert float(combined) == pytest.approx(sum(separate) / 2)


def test_relational_equals_the_naive_loop() -> None:
    student, teacher = draw()
    count = len(student)

    def distances(z: list[list[float]]) -> dict[tuple[int, int], float]:
        raw = {(i, j): math.dist(z[i], z[j]) for i, j in itertools.permutations(range(count), 2)}
        mean = sum(raw.values()) / len(raw)
        return {pair: value / mean for pair, value in raw.items()}

    def angle(z: list[list[float]], i: int, j: int, k: int) -> float:
        to_i = [a - b for a, b in zip(z[i], z[j], strict=True)]
        to_k = [a - b for a, b in zip(z[k], z[j], strict=True)]
        product = sum(a * b for a, b in zip(to_i, to_k, strict=True))
        return product / (math.hypot(*to_i) * math.hypot(*to_k))

    s, t = student.tolist(), teacher.tolist()
    pairs = [huber(distances(s)[pair] - distances(t)[pair]) for pair in distances(s)]
    triples = [
        huber(angle(s, *triple) - angle(t, *triple))
        for triple in itertools.permutations(range(count), 3)
    ]
    loss = Relational(distance=25, angle=50)([student, teacher])
    assert loss.terms["distance"].item() == pytest.approx(sum(pairs) / len(pairs))
    assert loss.terms["angle"].item() == pytest.approx(sum(triples) / len(triples))
    expected = 25 * sum(pairs) / len(pairs) + 50 * sum(triples) / len(triples)
    assert loss.total.item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda z: Relational()([z, teacher]).total, student)


def test_equal_rows_have_finite_gradients() -> None:
    student, teacher = draw()
    with torch.no_grad():
        student[1] = student[0]
    Relational()([student, teacher]).total.backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_negative_weight_is_refused() -> None:
    with pytest.raises(ConfigError, match="angle to be 0 or more"):
        Relational(angle=-1)


@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_soft_labels_equal_the_naive_divergence(temperature: float) -> None:
    student, teacher = draw()
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        p, q = ([math.exp(x / temperature) for x in z] for z in (t, s))
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        total += sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))
    loss = SoftLabels(temperature)([student, teacher])
    assert loss.total.item() == pytest.approx(temperature**2 * total / len(student))


@pytest.mark.parametrize("options", [{"temperature": 0}, {"weight": 1.5}])
def test_invalid_soft_labels_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="Soft labels need"):
        SoftLabels(**options)


def test_attention_transfer_equals_the_naive_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(3, 5, 2, 2, generator=generator, dtype=torch.float64).requires_grad_()
    teacher = torch.randn(3, 4, 6, 4, generator=generator, dtype=torch.float64)

    def unit(maps: Tensor, patch: int, high: int, wide: int) -> list[float]:
        """Pool areas of high x wide places to one place."""
        _, channels, height, width = maps.shape
        places = [
            sum(
                maps[patch, c, y, x].item() ** 2 / channels / (high * wide)
                for c in range(channels)
                for y in range(top, top + high)
                for x in range(first, first + wide)
            )
            for top in range(0, height, high)
            for first in range(0, width, wide)
        ]
        return [place / math.hypot(*places) for place in places]

    expected = 0.0
    for patch in range(3):
        pair = unit(student, patch, 1, 1), unit(teacher, patch, 3, 2)
        expected += sum((s - t) ** 2 for s, t in zip(*pair, strict=True)) / 4 / 3
    loss = AttentionTransfer(weight=10)
    single = loss.of_stages([student], [teacher])
    assert single.total.item() == pytest.approx(10 / 2 * expected)
    # An extra first stage is skipped; the loss of two stages is the sum.
    double = loss.of_stages([student, student], [teacher.flip(0), teacher, teacher])
    assert double.total.item() == pytest.approx(2 * single.total.item())
    assert torch.autograd.gradcheck(lambda s: loss.of_stages([s], [teacher]).total, student)
    assert attention(torch.zeros(1, 2, 4, 4), 2, 2).tolist() == [[0.0] * 4]
    half = torch.full((1, 2, 1, 1), 300.0, dtype=torch.float16)
    assert attention(half, 1, 1).item() == 90_000  # beyond the range of half precision
    with pytest.raises(ConfigError, match="weight to be 0 or more"):
        AttentionTransfer(weight=-1)
