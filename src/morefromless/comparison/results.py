"""From finished runs to rows and contrasts: means over seeds, intervals, paired tests."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless.comparison.floors import FloorRow, not_above
from morefromless.comparison.plan import Arm, Kind, Planned
from morefromless.data.store import Store
from morefromless.evaluation.evaluate import Result, evaluate
from morefromless.evaluation.intervals import Interval, bootstrap
from morefromless.evaluation.metrics import accuracy, balanced_accuracy, macro_f1
from morefromless.evaluation.paired import McNemar, SignFlip, difference, holm, mcnemar
from morefromless.options import CompareOptions, Sharing
from morefromless.pairs import modality
from morefromless.runs import Run

RISING = 0.01
"""An arm is called still rising where the last quarter of its curve lies so much higher, on
average, than the quarter before it."""

Verdict = Literal["better", "worse", "no difference shown", "no verdict"]
"""The last where the question cannot be answered: one seed, too few groups, an arm that did not
train."""

ALPHA = 0.05


@dataclass(frozen=True)
class Row:
    """One arm's encoder of one modality, over its seeds."""

    arm: Arm
    title: str
    branch: str
    modality: str
    resolution: int
    """Side in px of the information that it sees."""
    um_per_px: float | None
    """Magnification of that information."""
    seeds: int
    accuracies: tuple[float, ...]
    """One a seed."""
    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    ece: float
    recall: tuple[float | None, ...]
    """Per class, mean over seeds."""
    confusion: tuple[tuple[int, ...], ...]
    """Counts summed over seeds; rows are the true classes."""
    rising: bool | None
    """Whether a seed's curve was still rising at the end; None where none was drawn."""


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
    sides: Sequence[tuple[Bools, Bools, npt.ArrayLike | None]], untrained: Sequence[str] = ()
) -> list[ContrastTest]:
    """Every contrast of a table tested and judged: (seeds, N) right of a and of b, and groups.

    A difference is better or worse where Holm's p is below 0.05; then the interval excludes zero
    as well. `untrained` says, for each contrast, which arm did not train; empty where both did.
    """
    found = [difference(a, b, groups=groups) for a, b, groups in sides]
    corrected = holm([one.p for one in found])
    # The least that n units' sign flips can give, were all contrasts as clear as they can be.
    counts = [one.interval.units if one.groups is None else one.groups for one in found]
    least = holm([2 * 0.5**n for n in counts])
    tests = []
    for one, p, n, possible, remark in zip(found, corrected, counts, least, untrained, strict=True):
        verdict: Verdict = "no verdict"
        if remark:
            pass
        elif possible >= ALPHA:
            unit = "patch" if one.groups is None else "group"
            remark = f"{n} test {_plural(unit, n)}: no difference could be shown"
        elif not one.interval.includes_seeds:
            shown = "differ" if p < ALPHA else "are not shown to differ"
            remark = f"one seed: these encoders {shown}"
        elif p >= ALPHA:
            verdict = "no difference shown"
        else:
            verdict = "better" if one.interval.estimate > 0 else "worse"
        tests.append(
            ContrastTest(
                difference=one.interval,
                sign_flip=one.sign_flip,
                p=one.p,
                holm_p=p,
                verdict=verdict,
                remark=remark,
            )
        )
    return tests


def untrained(
    arms: Sequence[tuple[str, Kind, Bools]], modality: str, floors: Sequence[FloorRow]
) -> str:
    """Which of a contrast's arms (title, kind, right answers) did not train, for its remark."""
    for title, kind, correct in arms:
        if floor := not_above(kind, float(correct.mean()), modality, floors):
            return f"{title} is not above {floor}"
    return ""


def _plural(unit: str, n: int) -> str:
    return unit if n == 1 else {"patch": "patches", "group": "groups"}[unit]


@dataclass(frozen=True, kw_only=True)
class Contrast(ContrastTest):
    """Two arms on the same modality."""

    name: str
    primary: str
    a: Arm
    b: Arm
    mcnemar: tuple[McNemar, ...]
    """Seed by seed, where both arms have it."""


@dataclass(frozen=True)
class Evaluated:
    """One planned run with what its branches reached."""

    planned: Planned
    results: list[Result]


def evaluate_all(
    planned: Sequence[Planned], store: Store, options: CompareOptions, device: str
) -> Iterator[Evaluated]:
    """Evaluate run after run; what was evaluated before is read back."""
    for one in planned:
        yield Evaluated(one, evaluate(one.run, store, options.probe, device, task=options.task))


def rows(evaluated: Sequence[Evaluated], store: Store) -> list[Row]:
    """One row an arm and branch, in the order of the plan; primary branches before privileged."""
    gathered: dict[tuple[Arm, str], list[tuple[Planned, Result]]] = {}
    for one in evaluated:
        for result in one.results:
            gathered.setdefault((one.planned.arm, result.branch), []).append((one.planned, result))
    ordered = sorted(gathered.items(), key=lambda item: item[0][1] == "privileged")
    return [_row(arm, branch, found, store) for (arm, branch), found in ordered]


def _row(arm: Arm, branch: str, found: list[tuple[Planned, Result]], store: Store) -> Row:
    results = [result for _, result in found]
    seen = results[0].modality
    store = store.having([modality(seen).array])
    predictions = np.stack([result.probabilities.argmax(1) for result in results])
    test = store.indices("test")
    common = {"classes": len(store.classes), "groups": store.groups("test")}
    intervals = [
        bootstrap(statistic, predictions, store.labels[test], **common)  # type: ignore[arg-type]
        for statistic in (accuracy, balanced_accuracy, macro_f1)
    ]
    side = store.array(modality(seen).array).shape[1]
    resolution = modality(seen).resolution(min(side, int(found[0][0].options.size)))
    return Row(
        arm=arm,
        title=arm.title if branch == "primary" else f"{arm.title}, trained with {arm.primary}",
        branch=branch,
        modality=seen,
        resolution=resolution,
        um_per_px=store.um_per_px * side / resolution if store.um_per_px and resolution else None,
        seeds=len(results),
        accuracies=tuple(result.scores.accuracy for result in results),
        accuracy=intervals[0],
        balanced_accuracy=intervals[1],
        macro_f1=intervals[2],
        ece=float(np.mean([result.scores.ece for result in results])),
        recall=_mean_recall(results),
        confusion=_summed([result.scores.confusion for result in results]),
        rising=curve_rises([(planned.run, branch) for planned, _ in found]),
    )


def contrasts(
    evaluated: Sequence[Evaluated], store: Store, floors: Sequence[FloorRow]
) -> list[Contrast]:
    """The questions a table is read for, each answered with an interval and a paired test."""
    correct: dict[Arm, Bools] = {}
    groups: dict[str, npt.NDArray[np.object_] | None] = {}
    for arm in dict.fromkeys(one.planned.arm for one in evaluated):
        own = store.having([modality(arm.primary).array])
        truth = own.labels[own.indices("test")]
        groups[arm.primary] = own.groups("test")
        per_seed = [
            result.probabilities.argmax(1) == truth
            for one in evaluated
            if one.planned.arm == arm
            for result in one.results
            if result.branch == "primary"
        ]
        correct[arm] = np.stack(per_seed)
    asked = [
        (name, a, b)
        for primary in dict.fromkeys(arm.primary for arm in correct)
        for name, a, b in _questions([arm for arm in correct if arm.primary == primary])
    ]
    answers = contrast_tests(
        [(correct[a], correct[b], groups[a.primary]) for _, a, b in asked],
        [
            untrained([(arm.title, arm.kind, correct[arm]) for arm in (a, b)], a.primary, floors)
            for _, a, b in asked
        ],
    )
    return [
        Contrast(
            **vars(answer),
            name=name,
            primary=a.primary,
            a=a,
            b=b,
            mcnemar=tuple(mcnemar(x, y) for x, y in zip(correct[a], correct[b], strict=False)),
        )
        for (name, a, b), answer in zip(asked, answers, strict=True)
    ]


def _questions(arms: Sequence[Arm]) -> Iterator[tuple[str, Arm, Arm]]:
    """Pairs of arms of one primary modality. Like is compared with like; the paper's own headline,
    independent against shared weights, is there too and says so."""
    by_kind = {(arm.kind, arm.sharing): arm for arm in arms}
    both: tuple[Sharing, ...] = ("shared", "independent")
    for sharing in both:
        a, b = by_kind.get(("asymmetric", sharing)), by_kind.get(("symmetric", sharing))
        if a and b:
            yield f"asymmetric - symmetric, both {sharing}", a, b
    a, b = by_kind.get(("asymmetric", "independent")), by_kind.get(("symmetric", "shared"))
    if a and b:
        yield "asymmetric independent - symmetric shared (the paper's headline)", a, b
    trident = by_kind.get(("trident", "independent"))
    for kind in ("symmetric", "asymmetric"):
        b = by_kind.get((kind, "independent"))
        if trident and b:
            yield f"trident - {kind}, both independent", trident, b
    supervised = by_kind.get(("supervised", None))
    for sharing in both:
        a = by_kind.get(("asymmetric", sharing))
        if a and supervised:
            yield f"asymmetric {sharing} - supervised", a, supervised


def _mean_recall(results: Sequence[Result]) -> tuple[float | None, ...]:
    columns = zip(*(result.scores.recall for result in results), strict=True)
    return tuple(
        None if None in column else float(np.mean(np.asarray(column, dtype=float)))
        for column in columns
    )


def _summed(matrices: Sequence[tuple[tuple[int, ...], ...]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(n) for n in row) for row in np.sum(np.array(matrices), axis=0))


def curve_of(run: Run, branch: str) -> pd.DataFrame | None:
    """A run's learning curve (step, accuracy) of one branch, where one was drawn."""
    path = run.path / "curve.csv"
    if not path.is_file():
        return None
    points = pd.read_csv(path)
    return points[points["branch"] == branch][["step", "accuracy"]].reset_index(drop=True)


def curve_rises(branches: Sequence[tuple[Run, str]]) -> bool | None:
    """Whether the mean curve of several runs' branches still rose; None where it is not known."""
    curves = [curve for one in branches if (curve := curve_of(*one)) is not None]
    if not curves or min(map(len, curves)) < 8:
        return None
    mean = np.mean([curve["accuracy"].to_numpy()[: min(map(len, curves))] for curve in curves], 0)
    quarter = len(mean) // 4
    return bool(mean[-quarter:].mean() - mean[-2 * quarter : -quarter].mean() > RISING)
