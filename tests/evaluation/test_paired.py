"""Paired tests against enumeration, a worked example and their nominal level."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm, t, ttest_rel

from morefromless.evaluation.paired import difference, holm, mcnemar, sign_flip


def test_mcnemar_matches_a_manual_calculation() -> None:
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


def test_only_sign_flip_keeps_its_level_on_groups() -> None:
    """Arms that differ by patient, but not on average: 5 % of such tests may be below 0.05."""
    rejected, rejected_by_mcnemar = 0, 0
    groups = np.repeat(np.arange(30), 20)
    for draw in range(300):
        rng = np.random.default_rng(draw)
        shift = np.repeat(rng.normal(0, 0.15, 30), 20)
        a, b = rng.random(600) < 0.7 + shift, rng.random(600) < 0.7 - shift
        rejected += sign_flip(a, b, groups=groups).p <= 0.05
        rejected_by_mcnemar += mcnemar(a, b).p <= 0.05
    assert 0.015 <= rejected / 300 <= 0.09
    assert rejected_by_mcnemar / 300 > 0.2


def test_equal_arms_and_a_single_group_have_p_one() -> None:
    a = np.array([[True, False, True]])
    assert sign_flip(a, a).p == 1
    assert sign_flip(a, ~a, groups=["s", "s", "t"]).p == 1


def test_sign_flip_detects_a_clear_difference() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 1000)) < 0.9, rng.random((3, 1000)) < 0.8
    result = sign_flip(a, b)
    assert result.p < 1e-10
    assert result.difference == pytest.approx(0.1, abs=0.03)


def test_holm_matches_a_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_stays_within_one_and_keeps_single_tests() -> None:
    assert holm([0.6, 0.9]) == [1, 1]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_arms_with_different_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        mcnemar([True], [True, False])
    with pytest.raises(ValueError, match="same patches"):
        sign_flip(np.ones((1, 3), bool), np.ones((1, 4), bool))


def test_difference_of_single_encoders_is_a_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(200) < 0.8, rng.random(200) < 0.7
    result = difference(a, b)
    expected = ttest_rel(a.astype(float), b.astype(float))
    low, high = expected.confidence_interval()
    assert (result.interval.low, result.interval.high) == pytest.approx((low, high))
    assert result.p == pytest.approx(max(expected.pvalue, mcnemar(a, b).p))
    assert (result.interval.unit, result.interval.units, result.groups) == ("patch", 200, None)
    assert not result.interval.includes_seeds


def test_difference_matches_a_manual_calculation() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random((3, 60)) < 0.8, rng.random((2, 60)) < 0.6
    groups = np.repeat([f"patient {i}" for i in range(6)], [4, 6, 8, 12, 14, 16])
    differences = a.mean(0) - b.mean(0)
    means = np.array([differences[groups != name].mean() for name in np.unique(groups)])
    over_groups = 5 / 6 * ((means - means.mean()) ** 2).sum()
    over_seeds = a.mean(1).var(ddof=1) / 3 + b.mean(1).var(ddof=1) / 2
    freedom = (over_groups + over_seeds) ** 2 / (over_groups**2 / 5 + over_seeds**2 / 1)
    assert freedom < 8
    error = np.sqrt(over_groups + over_seeds)
    result = difference(a, b, groups=groups)
    interval = result.interval
    estimate = a.mean() - b.mean()
    assert interval.estimate == pytest.approx(estimate)
    assert interval.high - estimate == pytest.approx(t.ppf(0.975, freedom) * error)
    p = max(2 * t.sf(abs(estimate) / error, freedom), result.sign_flip.p)
    assert result.p == pytest.approx(p)
    assert (interval.unit, interval.units, interval.includes_seeds) == ("group", 6, True)
    assert result.sign_flip.unit == "group"
    swapped = difference(b, a, groups=groups)
    assert (swapped.interval.low, swapped.p) == pytest.approx((-interval.high, result.p))


@pytest.mark.parametrize(
    ("seeds", "noise"), [((5, 5), 0.0), ((5, 5), 0.02), ((2, 2), 0.02), ((2, 5), 0.05)]
)
def test_difference_interval_has_nominal_coverage(seeds: tuple[int, int], noise: float) -> None:
    """`noise` is the standard deviation of an arm's accuracy between seeds."""
    covered, without_seeds = 0, 0
    truth = _normal_cdf(1.0, noise) - _normal_cdf(0.8, noise)
    for draw in range(300):
        rng = np.random.default_rng(draw)
        hard = rng.normal(size=400)  # patches that are difficult for both arms
        arms = []
        for mean, count in zip((1.0, 0.8), seeds, strict=True):
            skill = mean + rng.normal(0, noise / 0.25, count)
            arms.append(hard + rng.normal(0, 0.5, (count, 400)) < skill[:, None])
        interval = difference(*arms).interval
        covered += interval.low <= truth <= interval.high
        single = difference(arms[0][:1], arms[1][:1]).interval
        assert not single.includes_seeds
        without_seeds += single.low <= truth <= single.high
    assert covered / 300 >= 0.93
    if noise:
        assert without_seeds < covered - 15


def test_two_equal_seeds_still_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 400)) < 0.8, rng.random((2, 400)) < 0.7
    a, b = (np.stack([arm[0], np.roll(arm[0], 1)]) for arm in (a, b))  # equal accuracies
    result = difference(a, b)
    estimate, differences = result.interval.estimate, a.mean(0) - b.mean(0)
    error = np.sqrt(differences.var(ddof=1) / 400)
    assert result.interval.high - estimate == pytest.approx(t.ppf(0.975, 8) * error)
    assert result.p == pytest.approx(2 * t.sf(estimate / error, 8))
    assert result.p > result.sign_flip.p


def _normal_cdf(skill: float, noise: float) -> float:
    return float(norm.cdf(skill / np.sqrt(1 + 0.25 + (noise / 0.25) ** 2)))


def test_patches_that_are_hard_for_both_arms_cancel() -> None:
    rng = np.random.default_rng(0)
    a = rng.random(500) < 0.7
    equal = difference(a, a)
    assert (equal.interval.low, equal.interval.high, equal.p) == (0, 0, 1)
    b = a.copy()
    b[:10] = ~b[:10]
    near, far = (difference(a, changed).interval for changed in (b, rng.permutation(b)))
    assert near.high - near.low < 0.3 * (far.high - far.low)


def test_single_group_falls_back_to_patches() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 80)) < 0.8, rng.random((2, 80)) < 0.6
    single_group, no_groups = difference(a, b, groups=["slide 1"] * 80), difference(a, b)
    assert (single_group.interval, single_group.p, single_group.sign_flip) == (
        no_groups.interval,
        no_groups.p,
        no_groups.sign_flip,
    )
    assert (single_group.groups, no_groups.groups) == (1, None)


def test_certain_and_impossible_differences_have_bounds() -> None:
    right, wrong = np.ones((2, 12), bool), np.zeros((2, 12), bool)
    certain = difference(right, wrong)
    assert (certain.interval.low, certain.interval.high) == (1, 1)
    assert certain.p == certain.sign_flip.p == 2 / 2**12
    single = difference([[True]], [[False]])  # one patch gives no information
    assert (single.interval.low, single.interval.high, single.p) == (-1, 1, 1)
    with pytest.raises(ValueError, match="same patches"):
        difference(np.ones((2, 5)), np.ones((2, 6)))
