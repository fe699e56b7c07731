"""Confidence intervals of scores: percentile bootstrap over test units and seeds.

A *unit* is resampled with replacement: a patch, or a whole group (patient, slide) if groups are
known. Patches of one patient are not independent, so resampling single patches gives intervals that
are too narrow. If an arm was trained with several seeds, the seeds are also resampled,
independently of the units (Owen, "The pigeonhole bootstrap", 2007). The interval then includes both
sources of variation; it is conservative if seeds and patches interact.

Each level draws n - 1 of its n items, which makes the bootstrap variance of a mean unbiased. With n
draws, the variance would be too small by the factor (n - 1)/n, by a third for three seeds. The
interval of a single arm is still rough with this few seeds. The interval of a difference between
arms, `paired.difference`, is a t interval, which is wide enough with two seeds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Unit = Literal["patch", "group"]
PLURAL: dict[Unit, str] = {"patch": "patches", "group": "groups"}
LEVEL = 0.95
"""Confidence level of all intervals."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval."""

    estimate: float
    low: float
    high: float
    level: float
    unit: Unit
    """What the bootstrap resamples, or the t interval counts as a case."""
    units: int
    """Number of units; with fewer than about 20 groups the interval is rough."""
    includes_seeds: bool
    """Whether it includes variation between seeds (every arm has more than one seed)."""
    resamples: int
    """Number of bootstrap resamples; 0 for a t interval."""


def bootstrap(
    statistic: Callable[[Floats], Floats],
    predictions: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    classes: int,
    groups: npt.ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of a function of the confusion matrix, such as `metrics.macro_f1`.

    `statistic` maps counts (..., classes, classes), whose rows are the true classes, to (...).
    `predictions` are class numbers (N,) or (seeds, N); the estimate is the mean of the statistic
    over seeds. `labels` are class numbers (N,). `groups` are names or numbers (N,), or None to
    resample patches. Patches are also resampled if there is only one group, because one group gives
    no information about other groups. `Interval.unit` is the resampled unit.
    """
    predicted, truth = np.atleast_2d(np.asarray(predictions)), np.asarray(labels)
    seeds, n = predicted.shape
    if truth.shape != (n,) or min(predicted.min(), truth.min()) < 0:
        raise ValueError(f"expected (seeds, N) and (N,) class numbers, got {n} and {truth.shape}")
    if max(predicted.max(), truth.max()) >= classes:
        raise ValueError(f"class numbers must be below {classes}")
    # (seeds, N): cell of each patch in the flattened confusion matrix
    cells = classes * truth + predicted
    unit, member = units_of(groups, n)
    if unit == "patch":
        # Patches in the same cells are interchangeable: one weighted row represents all of them.
        patterns, weights = np.unique(cells.T, axis=0, return_counts=True)
        member, cells = np.arange(len(patterns)), patterns.T
    else:
        weights = np.ones(member.max() + 1, np.int64)
    contributions = np.zeros((len(weights), seeds, classes * classes))
    for row, matrix in zip(cells, contributions.swapaxes(0, 1), strict=True):
        np.add.at(matrix, (member, row), 1)

    rng = np.random.default_rng(seed)
    resampled = _resample(contributions.reshape(len(weights), -1), weights, resamples, rng)
    shape = (seeds, classes, classes)
    replicates = statistic(resampled.reshape(-1, *shape)) * _seed_weights(seeds, resamples, rng)
    total = np.tensordot(weights, contributions, 1).reshape(shape)
    low, high = np.quantile(replicates.sum(1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(
        estimate=float(statistic(total).mean()),
        low=float(low),
        high=float(high),
        level=LEVEL,
        unit=unit,
        units=int(weights.sum()),
        includes_seeds=seeds > 1,
        resamples=resamples,
    )


def units_of(groups: npt.ArrayLike | None, n: int) -> tuple[Unit, npt.NDArray[np.int64]]:
    """Return the unit of resampling, and the unit number of each of the n patches.

    Units are groups if at least two are known, else patches.
    """
    if groups is not None:
        names, member = np.unique(np.asarray(groups), return_inverse=True)
        if member.shape != (n,):
            raise ValueError(f"groups must be ({n},), got {np.shape(groups)}")
        if len(names) > 1:
            return "group", member
    return "patch", np.arange(n)


def _resample(
    contributions: Floats,
    weights: npt.NDArray[np.int64],
    resamples: int,
    rng: np.random.Generator,
) -> Floats:
    """Sums over each resample: (kinds, M) rows with multiplicity `weights` -> (resamples, M)."""
    units = int(weights.sum())
    rows = max(1, 2**22 // len(weights))  # at most 32 MB of counts at a time
    sums = [
        rng.multinomial(max(units - 1, 1), weights / units, min(rows, resamples - done))
        @ contributions
        for done in range(0, resamples, rows)
    ]
    return np.concatenate(sums)


def _seed_weights(seeds: int, resamples: int, rng: np.random.Generator) -> Floats:
    """Weight of each seed in each resample: (resamples, seeds), rows summing to one."""
    draws = max(seeds - 1, 1)
    return rng.multinomial(draws, np.full(seeds, 1 / seeds), resamples) / draws
