"""Contrasts: paired tests of all comparisons of a table, and their verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from morefromless.evaluation.intervals import PLURAL, Interval, Unit
from morefromless.evaluation.paired import Difference, SignFlip, difference, holm

Verdict = Literal["better", "worse", "no difference shown", "no verdict"]
"""`no verdict` if the data cannot support one: one seed, too few groups, or an arm that did not
train."""

ALPHA = 0.05

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ContrastTest:
    """Test of two arms on the same test patches; `difference` is a minus b."""

    difference: Interval
    sign_flip: SignFlip
    p: float
    """p-value of `paired.difference`, the larger of the t test's and the sign-flip test's."""
    holm_p: float
    """`p` after Holm's correction for all contrasts of the table."""
    verdict: Verdict
    remark: str = ""
    """Why there is no verdict, and what can be said instead; else empty."""

    @property
    def text(self) -> str:
        """Text of the table cell."""
        return self.remark or self.verdict


def contrast_tests(
    contrasts: Sequence[tuple[Bools, Bools, npt.ArrayLike | None]], untrained: Sequence[str]
) -> list[ContrastTest]:
    """Test all contrasts of a table and give their verdicts.

    Each contrast is (correct of a, correct of b, groups): (seeds, N) bool, (seeds, N) bool, and
    (N,) or None. The verdict is better or worse if the Holm-corrected p is below 0.05; then the
    interval also excludes zero. `untrained` states, for each contrast, which arm did not train, or
    is empty.
    """
    differences = [difference(a, b, groups=groups) for a, b, groups in contrasts]
    corrected = holm([result.p for result in differences])
    # Smallest corrected p of the sign-flip tests, if in every contrast all units agree.
    min_p_values = holm([2 * 0.5 ** _units(result) for result in differences])
    tests = []
    for result, p, min_p, reason in zip(
        differences, corrected, min_p_values, untrained, strict=True
    ):
        verdict, remark = _verdict(result, p, min_p, reason)
        tests.append(
            ContrastTest(
                difference=result.interval,
                sign_flip=result.sign_flip,
                p=result.p,
                holm_p=p,
                verdict=verdict,
                remark=remark,
            )
        )
    return tests


def _units(result: Difference) -> int:
    return result.interval.units if result.groups is None else result.groups


def _verdict(result: Difference, p: float, min_p: float, reason: str) -> tuple[Verdict, str]:
    """The verdict and its remark. `p` is Holm-corrected; `min_p` is its smallest possible value."""
    if reason:
        return "no verdict", reason
    if min_p >= ALPHA:
        unit: Unit = "patch" if result.groups is None else "group"
        units = _units(result)
        words = f"{units} test {unit if units == 1 else PLURAL[unit]}"
        return "no verdict", f"{words}: no difference could be shown"
    if not result.interval.includes_seeds:
        shown = "differ" if p < ALPHA else "are not shown to differ"
        return "no verdict", f"one seed: these encoders {shown}"
    if p >= ALPHA:
        return "no difference shown", ""
    return "better" if result.interval.estimate > 0 else "worse", ""
