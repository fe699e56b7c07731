"""Confidence intervals against naive resampling, closed forms and their nominal coverage."""

import numpy as np
import pytest
from sklearn import metrics as reference

from morefromless.evaluation.intervals import Interval, bootstrap
from morefromless.evaluation.metrics import accuracy, balanced_accuracy, macro_f1


def random_predictions(n: int, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    return np.where(rng.random(n) < 0.7, labels, rng.integers(classes, size=n)), labels


def clustered(rng: np.random.Generator, groups: int, size: int, mean: float = 0.8) -> np.ndarray:
    """(groups, size) of correct (1) and wrong (0); every group has its own accuracy."""
    accuracies = rng.beta(8 * mean, 8 * (1 - mean), groups)
    return (rng.random((groups, size)) < accuracies[:, None]).astype(int)


def width(interval: Interval) -> float:
    return interval.high - interval.low


def test_accuracy_of_patches_agrees_with_the_binomial_interval() -> None:
    predictions, labels = random_predictions(1000)
    interval = bootstrap(accuracy, predictions, labels, classes=3, resamples=20_000)
    p = (predictions == labels).mean()
    half = 1.96 * np.sqrt(p * (1 - p) / 1000)
    assert interval.estimate == pytest.approx(p)
    assert (interval.low, interval.high) == pytest.approx((p - half, p + half), abs=0.05 * half)
    assert (interval.unit, interval.units, interval.includes_seeds) == ("patch", 1000, False)


@pytest.mark.parametrize("by_group", [False, True])
def test_statistics_match_scikit_learn_on_resampled_patches(by_group: bool) -> None:
    predictions, labels = random_predictions(120)
    labels[:2] = 2
    rng = np.random.default_rng(5)
    if by_group:
        groups = np.array([f"patient {i}" for i in rng.integers(12, size=120)])
        rows = [np.flatnonzero(groups == name) for name in np.unique(groups)]
        counts = rng_counts(11, np.full(12, 1 / 12))
        units = 12
    else:
        groups = None
        kinds, first, size = np.unique(
            3 * labels + predictions, return_index=True, return_counts=True
        )
        assert len(kinds) == 9
        rows = [np.array([row]) for row in first]
        counts = rng_counts(119, size / 120)
        units = 120
    resampled = [
        np.concatenate([np.tile(row, times) for row, times in zip(rows, count, strict=True)])
        for count in counts
    ]
    for statistic, expected in (
        (accuracy, reference.accuracy_score),
        (balanced_accuracy, reference.balanced_accuracy_score),
        (macro_f1, lambda y, p: reference.f1_score(y, p, average="macro")),
    ):
        values = [expected(labels[i], predictions[i]) for i in resampled]
        interval = bootstrap(
            statistic, predictions, labels, classes=3, groups=groups, resamples=200, seed=5
        )
        assert (interval.low, interval.high) == pytest.approx(
            tuple(np.quantile(values, [0.025, 0.975])), abs=1e-12
        )
        assert interval.units == units


def rng_counts(n: int, p: np.ndarray) -> np.ndarray:
    return np.random.default_rng(5).multinomial(n, p, 200)


def test_only_group_intervals_have_nominal_coverage() -> None:
    covered = {"group": 0, "patch": 0}
    groups, labels = np.repeat(np.arange(40), 25), np.ones(1000, int)
    for draw in range(200):
        correct = clustered(np.random.default_rng(draw), 40, 25).ravel()
        for unit, unit_groups in (("group", groups), ("patch", None)):
            interval = bootstrap(
                accuracy, correct, labels, classes=2, groups=unit_groups, resamples=400
            )
            assert interval.unit == unit
            covered[unit] += interval.low <= 0.8 <= interval.high
    assert 0.90 <= covered["group"] / 200 <= 0.99
    assert covered["patch"] / 200 < 0.85


def test_resampling_of_groups_widens_the_interval() -> None:
    rng = np.random.default_rng(0)
    correct = np.repeat(rng.random(100) < 0.8, 16).astype(int)  # a patient is all correct or wrong
    groups, labels = np.repeat(np.arange(100), 16), np.ones(1600, int)
    by_group = bootstrap(accuracy, correct, labels, classes=2, groups=groups, resamples=8000)
    by_patch = bootstrap(accuracy, correct, labels, classes=2, resamples=8000)
    assert width(by_group) / width(by_patch) == pytest.approx(4, rel=0.1)  # sqrt(16)


def test_interval_includes_seeds_if_there_are_several() -> None:
    labels = np.zeros(50, int)
    seeds = np.stack([np.zeros(50, int), np.ones(50, int)])  # one seed all correct, one all wrong
    two_seeds = bootstrap(accuracy, seeds, labels, classes=2)
    assert (two_seeds.estimate, two_seeds.low, two_seeds.high, two_seeds.includes_seeds) == (
        0.5,
        0,
        1,
        True,
    )
    single = bootstrap(accuracy, seeds[0], labels, classes=2)
    assert (single.low, single.high, single.includes_seeds) == (1, 1, False)
    # Six of seven are drawn: all are wrong in (4/7)^6 = 3.5 % of cases; with seven draws, in 2 %.
    seven = bootstrap(accuracy, seeds[[1] * 4 + [0] * 3], labels, classes=2, resamples=20_000)
    assert seven.low == 0


def test_single_group_falls_back_to_patches() -> None:
    predictions, labels = random_predictions(80)
    single = bootstrap(accuracy, predictions, labels, classes=3, groups=["slide 1"] * 80)
    assert single == bootstrap(accuracy, predictions, labels, classes=3)
    assert single.unit == "patch"
    two_groups = bootstrap(
        accuracy, predictions, labels, classes=3, groups=["slide 1", "slide 2"] * 40
    )
    assert (two_groups.unit, two_groups.units) == ("group", 2)


def test_seed_determines_the_interval() -> None:
    predictions, labels = random_predictions(200)
    interval = bootstrap(macro_f1, predictions, labels, classes=3)
    assert interval == bootstrap(macro_f1, predictions, labels, classes=3)
    assert interval != bootstrap(macro_f1, predictions, labels, classes=3, seed=1)


def test_many_units_are_resampled_in_parts() -> None:
    rng = np.random.default_rng(0)
    correct = rng.integers(2, size=20_000)
    groups = np.arange(20_000) // 2
    interval = bootstrap(
        accuracy, correct, np.ones(20_000, int), classes=2, groups=groups, resamples=500
    )
    assert interval.resamples == 500
    assert width(interval) == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(20_000), rel=0.15)


def test_invalid_shapes_and_classes_are_refused() -> None:
    predictions, labels = random_predictions(20)
    with pytest.raises(ValueError, match="below 2"):
        bootstrap(accuracy, predictions, labels, classes=2)
    with pytest.raises(ValueError, match="expected"):
        bootstrap(accuracy, predictions, labels[1:], classes=3)
    for invalid in ((predictions - 1, labels), (predictions, labels - 1)):
        with pytest.raises(ValueError, match="expected"):
            bootstrap(accuracy, *invalid, classes=3)
    with pytest.raises(ValueError, match="groups must be"):
        bootstrap(accuracy, predictions, labels, classes=3, groups=["a"])
