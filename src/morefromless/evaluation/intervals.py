"""Intervals: how much a score would move with other patches, other patients, other seeds.

Percentile bootstrap. What is resampled with replacement is a *unit*: a patch, or a whole group
(patient, slide) where groups are known, because patches of one patient are not independent and
resampling them singly gives intervals that are too narrow. Where an arm was trained with several
seeds, these are resampled as well, independently of the units (Owen, "The pigeonhole bootstrap",
2007), so that both sources of chance are in the interval; that is conservative where seeds and
patches interact.

Each level draws one fewer than it has, n - 1 out of n, which makes the bootstrap variance of a mean
unbiased; drawing n would understate it by the factor (n - 1)/n, a third for three seeds. With so
few seeds the interval of a single arm is rough all the same. A difference between arms has an
interval of its own kind, `paired.difference`, which is wide enough with two seeds.
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
"""Fraction of repetitions in which intervals hold the truth."""


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds that hold it in a fraction `level` of repetitions."""

    estimate: float
    low: float
    high: float
    level: float
    unit: Unit
    """What was resampled, or is a case of the t interval."""
    units: int
    """How many there are; fewer than about 20 groups make a rough interval."""
    includes_seeds: bool
    """Whether chance between seeds is in it (every arm had more than one)."""
    resamples: int
    """0 for a t interval, which has none."""


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
    """Interval of a function of the confusion matrix, such as `metrics.macro_f1`.

    `statistic` takes counts (..., classes, classes), rows being the true classes, to (...).
    `predictions` (N,) or (seeds, N) class numbers; over seeds the estimate is the mean of the
    statistic. `labels` (N,) class numbers. `groups` (N,) names or numbers, or None to resample
    patches; a single group says nothing about other groups, so then patches are resampled too
    (`Interval.unit` tells which it was).
    """
    predicted, truth = np.atleast_2d(np.asarray(predictions)), np.asarray(labels)
    seeds, n = predicted.shape
    if truth.shape != (n,) or min(predicted.min(), truth.min()) < 0:
        raise ValueError(f"expected (seeds, N) and (N,) class numbers, got {n} and {truth.shape}")
    if max(predicted.max(), truth.max()) >= classes:
        raise ValueError(f"class numbers must be below {classes}")
    cells = classes * truth + predicted  # (seeds, N): where each patch falls in the matrices
    unit, member = units_of(groups, n)
    if unit == "patch":
        # Patches that fall in the same cells are interchangeable: one row stands for all of them.
        kinds, weights = np.unique(cells.T, axis=0, return_counts=True)
        member, cells = np.arange(len(kinds)), kinds.T
    else:
        weights = np.ones(member.max() + 1, np.int64)
    contributions = np.zeros((len(weights), seeds, classes * classes))
    for row, matrix in zip(cells, contributions.swapaxes(0, 1), strict=True):
        np.add.at(matrix, (member, row), 1)

    rng = np.random.default_rng(seed)
    drawn = _resample(contributions.reshape(len(weights), -1), weights, resamples, rng)
    shape = (seeds, classes, classes)
    chance = statistic(drawn.reshape(-1, *shape)) * _seed_weights(seeds, resamples, rng)
    whole = np.tensordot(weights, contributions, 1).reshape(shape)
    low, high = np.quantile(chance.sum(1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(
        estimate=float(statistic(whole).mean()),
        low=float(low),
        high=float(high),
        level=LEVEL,
        unit=unit,
        units=int(weights.sum()),
        includes_seeds=seeds > 1,
        resamples=resamples,
    )


def units_of(groups: npt.ArrayLike | None, n: int) -> tuple[Unit, npt.NDArray[np.int64]]:
    """What is a unit of chance, and the number of the unit that each of the n patches belongs to.

    Groups where at least two are known; patches where none is, or all are of one group.
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
    """Sums over each resample: (kinds, M) of which there are `weights` -> (resamples, M)."""
    units = int(weights.sum())
    rows = max(1, 2**22 // len(weights))  # at most 32 MB of counts at a time
    sums = [
        rng.multinomial(max(units - 1, 1), weights / units, min(rows, resamples - done))
        @ contributions
        for done in range(0, resamples, rows)
    ]
    return np.concatenate(sums)


def _seed_weights(seeds: int, resamples: int, rng: np.random.Generator) -> Floats:
    """The weight of each seed in each resample: (resamples, seeds), rows summing to one."""
    drawn = max(seeds - 1, 1)
    return rng.multinomial(drawn, np.full(seeds, 1 / seeds), resamples) / drawn
