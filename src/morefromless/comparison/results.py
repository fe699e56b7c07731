"""From finished runs to rows and contrasts: means over seeds, intervals, paired tests."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless.comparison.plan import Arm, Planned
from morefromless.data.store import Store
from morefromless.evaluation.evaluate import Result, evaluate
from morefromless.evaluation.intervals import Interval, bootstrap, difference
from morefromless.evaluation.metrics import accuracy, balanced_accuracy, macro_f1
from morefromless.evaluation.paired import McNemar, SignFlip, holm, mcnemar, sign_flip
from morefromless.options import CompareOptions, Sharing
from morefromless.pairs import modality
from morefromless.runs import Run

RISING = 0.01
"""An arm is called still rising where the last quarter of its curve lies so much higher, on
average, than the quarter before it."""

Verdict = Literal["better", "worse", "no difference shown"]


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


def verdict(difference: Interval, holm_p: float) -> Verdict:
    """Better or worse only where both the interval and the corrected test say so."""
    if holm_p < 0.05 and difference.low > 0:
        return "better"
    if holm_p < 0.05 and difference.high < 0:
        return "worse"
    return "no difference shown"


@dataclass(frozen=True)
class Contrast:
    """Two arms on the same modality and the same test patches; `difference` is a minus b."""

    name: str
    primary: str
    a: Arm
    b: Arm
    difference: Interval
    sign_flip: SignFlip
    mcnemar: tuple[McNemar, ...]
    """Seed by seed, where both arms have it."""
    holm_p: float
    """The sign-flip test's p, corrected for the number of contrasts in the table."""

    @property
    def verdict(self) -> Verdict:
        return verdict(self.difference, self.holm_p)


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


def contrasts(evaluated: Sequence[Evaluated], store: Store) -> list[Contrast]:
    """The questions a table is read for, each answered with an interval and a paired test."""
    correct: dict[Arm, npt.NDArray[np.bool_]] = {}
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
    flips = [sign_flip(correct[a], correct[b], groups=groups[a.primary]) for _, a, b in asked]
    corrected = holm([flip.p for flip in flips])
    return [
        Contrast(
            name=name,
            primary=a.primary,
            a=a,
            b=b,
            difference=difference(correct[a], correct[b], groups=groups[a.primary]),
            sign_flip=flip,
            mcnemar=tuple(mcnemar(x, y) for x, y in zip(correct[a], correct[b], strict=False)),
            holm_p=p,
        )
        for (name, a, b), flip, p in zip(asked, flips, corrected, strict=True)
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
