"""Paired tests: could two arms that were tested on the same patches be equally good?

Both tests take the trained models as given: a small p says that *these models* differ on tissue
like this, not that training once more would show the same. `intervals.difference` has the chance
between seeds in it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from morefromless.evaluation.intervals import Unit


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
    return McNemar(only_a, only_b, float(binomtest(only_a, differing).pvalue) if differing else 1.0)


def sign_flip(
    correct_a: npt.ArrayLike, correct_b: npt.ArrayLike, *, groups: npt.ArrayLike | None = None
) -> SignFlip:
    """Exact sign-flip (Fisher randomisation) test: McNemar's, over several seeds and by group.

    `correct_a` (seeds of a, N) and `correct_b` (seeds of b, N), or (N,), bool. Each patch's
    difference is that of its correctness averaged over seeds; with `groups` (N,) the differences
    of a group are summed. Where the arms are equally good, the sign of each unit's difference is a
    fair coin:

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
    unit: Unit = "patch"
    if groups is not None:
        unit = "group"
        _, member = np.unique(np.asarray(groups), return_inverse=True)
        d = np.bincount(member, weights=d, minlength=0).astype(np.int64)
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
