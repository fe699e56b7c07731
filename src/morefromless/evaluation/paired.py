"""Paired comparison of two arms on the same test patches: confidence interval and tests.

`difference` includes both sources of variation: training (seeds) and testing (units: groups if at
least two are known, else patches). `sign_flip` and `mcnemar` treat the trained encoders as fixed: a
small p means that *these encoders* differ on such tissue, not that training again would give the
same result.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from morefromless.evaluation.intervals import LEVEL, Floats, Interval, Unit, units_of


@dataclass(frozen=True)
class McNemar:
    """McNemar's exact test: `b` patches correct only in arm a, `c` only in arm b; two-sided p."""

    b: int
    c: int
    p: float


@dataclass(frozen=True)
class SignFlip:
    """Sign-flip permutation test of a mean difference of accuracies, a minus b."""

    difference: float
    p: float
    """Two-sided and exact."""
    unit: Unit
    """The unit whose sign is flipped."""
    units: int
    """Number of units that differ between the arms; the smallest possible p is 2 / 2^units."""


@dataclass(frozen=True)
class Difference:
    """Difference between the mean accuracies of two arms, a minus b."""

    interval: Interval
    p: float
    """The larger of the p-values of the t test, which matches the interval, and of the sign-flip
    test."""
    sign_flip: SignFlip
    groups: int | None
    """Number of known groups of the test patches; None if not known. If 1, the units are patches,
    and the result does not generalise to other groups."""


def difference(
    correct_a: npt.ArrayLike,
    correct_b: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
) -> Difference:
    """Confidence interval and test of the difference between two arms, over seeds and units.

    `correct_a` (seeds of a, N) and `correct_b` (seeds of b, N), or (N,), are true for the patches
    that each trained encoder classifies correctly; `groups` (N,) are names or numbers. Seeds are
    like readers nested in the arms: seed 3 of one arm is unrelated to seed 3 of the other. Units
    are like cases shared by both arms, so their common difficulty cancels:

        variance = s_a² / n_a + s_b² / n_b + variance over units of the seed-averaged difference

    where s² is the variance of accuracy between an arm's n seeds, and the last term is a jackknife
    over whole units. The interaction of seeds and units is in both parts, so the sum is
    conservative. The degrees of freedom follow Satterthwaite, with n = min(n_a, n_b) - 1 for the
    seeds and units - 1 for the units. They are at most 8 n, because two seeds that agree by chance
    do not show that the seed has no effect. If an arm has one seed, the seeds are excluded and
    `includes_seeds=False`: the interval holds for these trained encoders, not for the training
    methods. See docs/statistics.md.
    """
    flip = sign_flip(correct_a, correct_b, groups=groups)
    a, b = (np.atleast_2d(np.asarray(c, np.float64)) for c in (correct_a, correct_b))
    unit, member = units_of(groups, a.shape[1])
    estimate = flip.difference
    variances = [(_jackknife(a.mean(0) - b.mean(0), member), int(member.max()))]
    min_seeds = min(len(a), len(b))
    if min_seeds > 1:
        seed_variance = sum(float(arm.mean(1).var(ddof=1)) / len(arm) for arm in (a, b))
        variances.append((seed_variance, min_seeds - 1))
    half_width, p_t = _t_interval(estimate, variances, 8 * (min_seeds - 1) or math.inf)
    return Difference(
        Interval(
            estimate=estimate,
            low=max(-1.0, estimate - half_width),
            high=min(1.0, estimate + half_width),
            level=LEVEL,
            unit=unit,
            units=int(member.max()) + 1,
            includes_seeds=min_seeds > 1,
            resamples=0,
        ),
        p=max(p_t, flip.p),
        sign_flip=flip,
        groups=None if groups is None else len(np.unique(np.asarray(groups))),
    )


def mcnemar(correct_a: npt.ArrayLike, correct_b: npt.ArrayLike) -> McNemar:
    """McNemar's exact test of two models; arguments are (N,) bool, true for correct predictions.

    If accuracies are equal, a patch that only one model classifies correctly belongs to either
    with the same probability: b ~ Binomial(b + c, 1/2). Without such patches, p = 1.
    """
    a, b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"expected two vectors of one length, got {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    differing = only_a + only_b
    # Imported here because importing scipy.stats is slow and planning a study does not need it.
    from scipy.stats import binomtest

    return McNemar(only_a, only_b, float(binomtest(only_a, differing).pvalue) if differing else 1.0)


def sign_flip(
    correct_a: npt.ArrayLike, correct_b: npt.ArrayLike, *, groups: npt.ArrayLike | None = None
) -> SignFlip:
    """Exact sign-flip permutation test: McNemar's test, extended to several seeds and to groups.

    `correct_a` (seeds of a, N) and `correct_b` (seeds of b, N), or (N,), bool. A patch's difference
    is that of its correctness averaged over seeds. If `groups` (N,) has at least two groups, the
    differences of a group are summed. If the arms are equally good, the sign of each unit's
    difference is positive or negative with equal probability:

        p = P(|Σ s_u d_u| ≥ |Σ d_u|),   s_u = ±1 with probability 1/2

    The differences are multiples of 1/seeds. The full distribution of the sum is therefore computed
    exactly on integers, without random signs (Pagano and Tritchler 1983), in time proportional to
    units x Σ|d_u|. For one seed and no groups, p equals McNemar's.
    """
    a, b = (np.atleast_2d(np.asarray(c, bool)) for c in (correct_a, correct_b))
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(f"both arms need the same patches, got {a.shape} and {b.shape}")
    scale = math.lcm(len(a), len(b))
    d = scale // len(a) * a.sum(0) - scale // len(b) * b.sum(0)
    unit, member = units_of(groups, len(d))
    d = np.bincount(member, weights=d).astype(np.int64)
    sizes = np.sort(np.abs(d[d != 0]))
    return SignFlip(
        difference=float(a.mean() - b.mean()),
        p=_two_sided(sizes, abs(int(d.sum()))),
        unit=unit,
        units=len(sizes),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of p-values, returned in the given order.

        p̃_(i) = max_{j ≤ i} min(1, (m − j + 1) p_(j))   over the p-values in ascending order

    Rejecting corrected values below α keeps the probability of any false rejection at most α,
    for any dependence between the tests (Holm 1979).
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.minimum(1, np.arange(len(p), 0, -1) * p[order])
    corrected = np.empty_like(p)
    corrected[order] = np.maximum.accumulate(steps)
    return [float(value) for value in corrected]


def _jackknife(values: Floats, member: npt.NDArray[np.int64]) -> float:
    """Jackknife variance of the mean of `values` (N,), leaving out one whole unit at a time."""
    sizes, sums = np.bincount(member), np.bincount(member, weights=values)
    units = len(sizes)
    if units < 2:
        return math.inf
    without = (sums.sum() - sums) / (len(values) - sizes)
    return float((units - 1) * without.var())


def _t_interval(
    estimate: float, variances: Sequence[tuple[float, int]], max_degrees: float
) -> tuple[float, float]:
    """Return the half-width of a t interval and the two-sided p.

    `variances` are summed; each has its degrees of freedom. `max_degrees` is the upper limit of the
    combined degrees of freedom."""
    variance = sum(value for value, _ in variances)
    if not 0 < variance < math.inf:
        certain = variance == 0
        return 0.0 if certain else math.inf, 0.0 if certain and estimate else 1.0
    freedom = min(
        max_degrees, variance**2 / sum(value**2 / degrees for value, degrees in variances)
    )
    error = math.sqrt(variance)
    from scipy.stats import t

    half_width = float(t.ppf((1 + LEVEL) / 2, freedom)) * error
    return half_width, float(2 * t.sf(abs(estimate) / error, freedom))


def _two_sided(sizes: npt.NDArray[np.int64], observed: int) -> float:
    """P(|Σ ±size| ≥ observed) for random signs and positive integer `sizes` in ascending order."""
    # If T is the sum of the sizes with sign +, the signed sum is 2 T - Σ sizes.
    chance = np.ones(1)  # chance[t] = P(T = t)
    for size in sizes:
        extended = np.zeros(len(chance) + size)
        extended[: len(chance)] = chance / 2
        extended[size:] += chance / 2
        chance = extended
    signed = 2 * np.arange(len(chance)) - (len(chance) - 1)
    return min(1.0, float(chance[np.abs(signed) >= observed].sum()))
