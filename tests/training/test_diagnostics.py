"""Spread and effective rank against closed forms; the message for a non-finite loss."""

import math

import pytest
import torch

from morefromless.errors import TrainingError
from morefromless.training.diagnostics import (
    Measure,
    check_finite,
    effective_rank,
    spread,
    start_copy,
)


def orthonormal(rows: int, columns: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.linalg.qr(torch.randn(rows, columns, generator=generator, dtype=torch.float64)).Q


def with_singular_values(values: list[float], rows: int, width: int) -> torch.Tensor:
    k = len(values)
    return (
        orthonormal(rows, k) @ torch.diag(torch.tensor(values).double()) @ orthonormal(width, k).T
    )


def value_of(measure: Measure) -> float:
    return start_copy({"": measure})()[""]


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (12, 12)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_effective_rank_of_equal_singular_values_is_their_number(
    shape: tuple[int, int], dtype: torch.dtype
) -> None:
    for rank in (1, 3, 12):
        z = with_singular_values([5.0] * rank, *shape).to(dtype)
        assert value_of(effective_rank(z)) == pytest.approx(rank, rel=1e-4)


def test_effective_rank_is_the_exponential_of_the_entropy() -> None:
    z = with_singular_values([3.0, 2.0, 1.0], 9, 20)
    entropy = -sum(p * math.log(p) for p in (3 / 6, 2 / 6, 1 / 6))
    assert value_of(effective_rank(z)) == pytest.approx(math.exp(entropy), rel=1e-12)
    assert value_of(effective_rank(z * 1e6)) == pytest.approx(math.exp(entropy), rel=1e-12)


def test_collapsed_embeddings_have_rank_one_and_zeros_rank_zero() -> None:
    row = torch.randn(512, generator=torch.Generator().manual_seed(0))
    assert value_of(effective_rank(row.expand(128, 512))) == pytest.approx(1, abs=1e-6)
    assert value_of(effective_rank(torch.zeros(4, 8))) == 0
    assert value_of(spread(row.expand(128, 512))) == pytest.approx(0, abs=1e-6)


def test_diagnostics_of_non_finite_values_are_nan() -> None:
    z = torch.ones(4, 8)
    z[0, 0] = torch.inf
    assert math.isnan(value_of(effective_rank(z)))
    assert math.isnan(value_of(spread(z)))


def test_spread_of_a_known_batch() -> None:
    z = torch.tensor([[0.0, 10.0], [2.0, 16.0]])
    assert value_of(spread(z)) == pytest.approx((1 + 3) / 2)
    assert spread(z.half()).tensor.dtype == torch.float32
    assert value_of(spread(torch.ones(1, 3))) == 0


def test_diagnostics_keep_no_graph_and_ignore_autocast() -> None:
    z = torch.randn(8, 16, requires_grad=True)
    plain = effective_rank(z)
    with torch.autocast("cpu", torch.bfloat16):
        cast = effective_rank(z)
    assert not plain.tensor.requires_grad
    assert not spread(z).tensor.requires_grad
    assert value_of(cast) == value_of(plain)


def test_a_finite_loss_passes() -> None:
    check_finite(3.0, {"invariance": 1.0, "variance": 2.0}, step=3)


def test_non_finite_loss_names_term_step_and_remedy() -> None:
    terms = {"invariance": 0.5, "variance": math.nan, "covariance": -math.inf}
    with pytest.raises(TrainingError) as error:
        check_finite(math.nan, terms, step=120)
    message = str(error.value)
    assert "step 120 because variance is nan and covariance is -inf" in message
    assert "invariance 0.5" in message
    assert "lower the learning rate" in message
    assert "\n" not in message


def test_overflow_of_the_total_is_reported() -> None:
    with pytest.raises(TrainingError, match="the total is inf"):
        check_finite(math.inf, {"invariance": 3e38, "variance": 3e38}, step=1)


def test_measures_are_not_changed_by_later_writes() -> None:
    z = torch.eye(6)
    finish_copy = start_copy({"spread": spread(z), "rank": effective_rank(z)})
    expected = {"spread": value_of(spread(z)), "rank": value_of(effective_rank(z))}
    z.zero_()
    assert finish_copy() == expected
