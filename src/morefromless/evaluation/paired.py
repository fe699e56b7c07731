"""Two arms on the same test patches: how far apart are they, and could they be equally good?

`difference` carries both sources of chance, that of training (seeds) and that of testing (units:
groups where at least two are known, else patches). `sign_flip` and `mcnemar` take the trained
encoders as given: a small p says that *these encoders* differ on tissue like this, not that
training once more would show the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from morefromless.evaluation.intervals import LEVEL, Floats, Interval, Unit, units_of


@dataclass(frozen=True)
class McNemar:
    """McNemar's exact test: `b` patches only arm a got right, `c` only arm b; two-sided p."""

    b: int
    c: int
    p: float


@dataclass(frozen=True)
class SignFlip:
    """Sign-flip test of a mean difference of accuracies; `difference` is a minus b."""

    difference: float
    p: float
    """Two-sided and exact."""
    unit: Unit
    """What was flipped."""
    units: int
    """How many of them differ between the arms; the smallest possible p is 2 / 2^units."""


@dataclass(frozen=True)
class Difference:
    """Difference of the mean accuracies of two arms, a minus b."""

    interval: Interval
    p: float
    """The larger of the t test's, which has the interval's chance in it, and the sign-flip
    test's: small only where both are."""
    sign_flip: SignFlip
    groups: int | None
    """Known groups of the test patches; None where none is known. With 1, the unit is its
    patches, and nothing holds for other groups."""


def difference(
    correct_a: npt.ArrayLike,
    correct_b: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
) -> Difference:
    """Interval and test of the difference between two arms, over seeds and units.

    `correct_a` (seeds of a, N) and `correct_b` (seeds of b, N), or (N,), say which of the same N
    patches each trained encoder got right; `groups` (N,) names or numbers. Seeds are readers,
    nested in the arms (seed 3 of one arm has nothing but its number in common with seed 3 of the
    other); units are cases, which both arms share, so what is difficult for both cancels:

        variance = s_a² / n_a + s_b² / n_b + variance over units of the seed-averaged difference

    with s² the variance of accuracy between an arm's n seeds, and the jackknife over whole units.
    What seeds and units do together is in both parts, so the sum errs on the wide side. Degrees of
    freedom are Satterthwaite's, with n = min(n_a, n_b) - 1 for the seeds and units - 1, and at most
    8 n: two seeds that agree by chance do not show that seeds do not matter. Where an arm has one
    seed, seeds are left out and the interval says `includes_seeds=False`: it holds for
    these trained encoders, not for the ways of training. See docs/statistics.md.
    """
    flip = sign_flip(correct_a, correct_b, groups=groups)
    a, b = (np.atleast_2d(np.asarray(c, np.float64)) for c in (correct_a, correct_b))
    unit, member = units_of(groups, a.shape[1])
    estimate = flip.difference
    parts = [(_jackknife(a.mean(0) - b.mean(0), member), int(member.max()))]
    fewest = min(len(a), len(b))
    if fewest > 1:
        between = sum(float(arm.mean(1).var(ddof=1)) / len(arm) for arm in (a, b))
        parts.append((between, fewest - 1))
    half, p_t = _student(estimate, parts, 8 * (fewest - 1) or math.inf)
    return Difference(
        Interval(
            estimate=estimate,
            low=max(-1.0, estimate - half),
            high=min(1.0, estimate + half),
            level=LEVEL,
            unit=unit,
            units=int(member.max()) + 1,
            includes_seeds=fewest > 1,
            resamples=0,
        ),
        p=max(p_t, flip.p),
        sign_flip=flip,
        groups=None if groups is None else len(np.unique(np.asarray(groups))),
    )


def mcnemar(correct_a: npt.ArrayLike, correct_b: npt.ArrayLike) -> McNemar:
    """McNemar's exact test of two models by which of the same patches, (N,) bool, they got right.

    Under equal accuracies a patch that only one of them got right is as likely to be either's:
    b ~ Binomial(b + c, 1/2). No such patch gives p = 1.
    """
    a, b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"expected two vectors of one length, got {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    differing = only_a + only_b
    # A study is planned without waiting for SciPy's statistics.
    from scipy.stats import binomtest

    return McNemar(only_a, only_b, float(binomtest(only_a, differing).pvalue) if differing else 1.0)


def sign_flip(
    correct_a: npt.ArrayLike, correct_b: npt.ArrayLike, *, groups: npt.ArrayLike | None = None
) -> SignFlip:
    """Exact sign-flip (Fisher randomisation) test: McNemar's, over several seeds and by group.

    `correct_a` (seeds of a, N) and `correct_b` (seeds of b, N), or (N,), bool. Each patch's
    difference is that of its correctness averaged over seeds; where `groups` (N,) has at least two
    groups, the differences of a group are summed. Where the arms are equally good, the sign of each
    unit's difference is a fair coin:

        p = P(|Σ s_u d_u| ≥ |Σ d_u|),   s_u = ±1 with probability 1/2

    The differences are multiples of 1/seeds, so the whole distribution of that sum is counted on
    integers, without drawing any signs (Pagano and Tritchler 1983): time grows with units x Σ|d_u|.
    For one seed and no groups p is McNemar's exactly.
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
    """Holm's step-down correction of several tests' p-values, in the order given.

        p̃_(i) = max_{j ≤ i} min(1, (m − j + 1) p_(j))   over the p-values sorted upwards

    Rejecting where the corrected value is below α keeps the chance of any false rejection below α,
    however the tests depend on each other (Holm 1979).
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.minimum(1, np.arange(len(p), 0, -1) * p[order])
    corrected = np.empty_like(p)
    corrected[order] = np.maximum.accumulate(steps)
    return [float(value) for value in corrected]


def _jackknife(values: Floats, member: npt.NDArray[np.int64]) -> float:
    """Variance of the mean of `values` (N,), whole units of which are left out in turn."""
    sizes, sums = np.bincount(member), np.bincount(member, weights=values)
    units = len(sizes)
    if units < 2:
        return math.inf
    without = (sums.sum() - sums) / (len(values) - sizes)
    return float((units - 1) * without.var())


def _student(
    estimate: float, parts: Sequence[tuple[float, int]], most: float
) -> tuple[float, float]:
    """Half the width of a t interval and the two-sided p, from variances that add up, each with
    its degrees of freedom, of which together there are at `most` so many."""
    variance = sum(part for part, _ in parts)
    if not 0 < variance < math.inf:
        certain = variance == 0
        return 0.0 if certain else math.inf, 0.0 if certain and estimate else 1.0
    freedom = min(most, variance**2 / sum(part**2 / degrees for part, degrees in parts))
    error = math.sqrt(variance)
    from scipy.stats import t

    half = float(t.ppf((1 + LEVEL) / 2, freedom)) * error
    return half, float(2 * t.sf(abs(estimate) / error, freedom))


def _two_sided(sizes: npt.NDArray[np.int64], observed: int) -> float:
    """P(|Σ ±size| ≥ observed) for fair signs and positive integer `sizes`, sorted upwards."""
    # With T the sum of the sizes whose sign is +, the signed sum is 2 T - Σ sizes.
    chance = np.ones(1)  # chance[t] = P(T = t)
    for size in sizes:
        grown = np.zeros(len(chance) + size)
        grown[: len(chance)] = chance / 2
        grown[size:] += chance / 2
        chance = grown
    signed = 2 * np.arange(len(chance)) - (len(chance) - 1)
    return min(1.0, float(chance[np.abs(signed) >= observed].sum()))
