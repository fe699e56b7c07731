"""Contrasts of a table: every pair of arms tested together, and judged in one place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from morefromless.evaluation.intervals import PLURAL, Interval, Unit
from morefromless.evaluation.paired import Difference, SignFlip, difference, holm

Verdict = Literal["better", "worse", "no difference shown", "no verdict"]
"""The last where the question cannot be answered: one seed, too few groups, an arm that did not
train."""

ALPHA = 0.05

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ContrastTest:
    """Two arms on the same test patches; `difference` is a minus b."""

    difference: Interval
    sign_flip: SignFlip
    p: float
    """Of `paired.difference`: over seeds and units, and by sign flips."""
    holm_p: float
    """The same, corrected for the number of contrasts in the table."""
    verdict: Verdict
    remark: str = ""
    """Why there is no verdict, and what holds instead."""

    @property
    def text(self) -> str:
        """What the table says."""
        return self.remark or self.verdict


def contrast_tests(
    sides: Sequence[tuple[Bools, Bools, npt.ArrayLike | None]], untrained: Sequence[str]
) -> list[ContrastTest]:
    """Every contrast of a table tested and judged: (seeds, N) right of a and of b, and groups.

    A difference is better or worse where Holm's p is below 0.05; then the interval excludes zero
    as well. `untrained` says, for each contrast, which arm did not train; empty where both did.
    """
    differences = [difference(a, b, groups=groups) for a, b, groups in sides]
    corrected = holm([result.p for result in differences])
    # The least that n units' sign flips can give, were all contrasts as clear as they can be.
    least = holm([2 * 0.5 ** _units(result) for result in differences])
    tests = []
    for result, p, possible, idle in zip(differences, corrected, least, untrained, strict=True):
        verdict, remark = _verdict(result, p, possible, idle)
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


def _verdict(result: Difference, p: float, least: float, idle: str) -> tuple[Verdict, str]:
    """The verdict, and why there is none. `p` is Holm's, and `least` the smallest possible one."""
    if idle:
        return "no verdict", idle
    if least >= ALPHA:
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
