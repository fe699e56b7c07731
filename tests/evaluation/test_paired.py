"""Paired tests against enumeration, a hand-worked case and their level."""

import itertools

import numpy as np
import pytest

from morefromless.evaluation.paired import holm, mcnemar, sign_flip


def test_mcnemar_by_hand() -> None:
    a = np.array([1] * 8 + [0] * 2 + [1] * 5 + [0] * 3, bool)
    b = np.array([0] * 8 + [1] * 2 + [1] * 5 + [0] * 3, bool)
    result = mcnemar(a, b)
    # 2 P(Bin(10, 1/2) >= 8) = 2 (45 + 10 + 1) / 1024
    assert (result.b, result.c) == (8, 2)
    assert result.p == pytest.approx(112 / 1024)


def test_mcnemar_of_equal_predictions_is_one() -> None:
    assert mcnemar([True, False], [True, False]).p == 1


@pytest.mark.parametrize("n", [5, 30, 400, 5000])
def test_sign_flip_of_one_seed_without_groups_is_mcnemar(n: int) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        a, b = rng.random(n) < 0.8, rng.random(n) < 0.75
        exact = mcnemar(a, b)
        result = sign_flip(a, b)
        assert result.p == pytest.approx(exact.p, rel=1e-9)
        assert result.units == exact.b + exact.c
        assert result.difference == pytest.approx((exact.b - exact.c) / n)


@pytest.mark.parametrize("by_group", [False, True])
def test_sign_flip_counts_every_choice_of_signs(by_group: bool) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        a, b = rng.random((3, 12)) < 0.8, rng.random((2, 12)) < 0.5
        groups = np.repeat(["u", "v", "w", "x", "y", "z"], 2) if by_group else None
        d = a.mean(0) - b.mean(0)
        if by_group:
            d = d.reshape(6, 2).sum(1)
        sums = [abs(np.dot(s, d)) for s in itertools.product((-1, 1), repeat=len(d))]
        expected = np.mean(np.array(sums) >= abs(d.sum()) - 1e-9)
        result = sign_flip(a, b, groups=groups)
        assert result.p == pytest.approx(expected, rel=1e-9)
        assert result.unit == ("group" if by_group else "patch")
        assert result.units == np.count_nonzero(np.abs(d) > 1e-9)
        assert sign_flip(b, a, groups=groups).p == pytest.approx(result.p)


def test_sign_flip_keeps_its_level_on_groups_where_mcnemar_does_not() -> None:
    """Arms that differ by patient, but not on average: 5 % of such tests may fall below 0.05."""
    rejected, singly = 0, 0
    groups = np.repeat(np.arange(30), 20)
    for draw in range(300):
        rng = np.random.default_rng(draw)
        shift = np.repeat(rng.normal(0, 0.15, 30), 20)
        a, b = rng.random(600) < 0.7 + shift, rng.random(600) < 0.7 - shift
        rejected += sign_flip(a, b, groups=groups).p <= 0.05
        singly += mcnemar(a, b).p <= 0.05
    assert 0.015 <= rejected / 300 <= 0.09
    assert singly / 300 > 0.2


def test_equal_arms_and_a_single_group_give_one() -> None:
    a = np.array([[True, False, True]])
    assert sign_flip(a, a).p == 1
    assert sign_flip(a, ~a, groups=["s", "s", "s"]).p == 1


def test_sign_flip_sees_a_clear_difference() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 1000)) < 0.9, rng.random((3, 1000)) < 0.8
    result = sign_flip(a, b)
    assert result.p < 1e-10
    assert result.difference == pytest.approx(0.1, abs=0.03)


def test_holm_on_the_textbook_case() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_stays_within_one_and_keeps_single_tests() -> None:
    assert holm([0.6, 0.9]) == [1, 1]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_arms_with_other_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        mcnemar([True], [True, False])
    with pytest.raises(ValueError, match="same patches"):
        sign_flip(np.ones((1, 3), bool), np.ones((1, 4), bool))
