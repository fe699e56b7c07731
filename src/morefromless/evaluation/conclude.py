"""From evaluations to results: the tidy table, summaries over seeds, contrasts, floors."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless.config import RunConfig, StudyConfig
from morefromless.data.store import HasLabels, Store
from morefromless.evaluation.contrasts import contrast_tests
from morefromless.evaluation.intervals import Interval, bootstrap
from morefromless.evaluation.metrics import CONFUSION_METRICS, Scores, score
from morefromless.evaluation.paired import mcnemar
from morefromless.evaluation.results import (
    COLUMNS,
    CURVE_COLUMNS,
    Condition,
    Contrast,
    Data,
    FloorNotExceeded,
    Results,
    RunRecord,
    Summary,
)
from morefromless.pairs import modality
from morefromless.runs import Run
from morefromless.tasks import build_task

RISING = 0.01
"""An arm is called still rising where the last quarter of its curve lies so much higher, on
average, than the quarter before it."""


UNTRAINED_FLOORS = ("majority", "random encoder")
"""What an arm that learnt anything is above."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one encoder, or floor, answered to one task."""

    condition: Condition
    seed: int
    probabilities: npt.NDArray[np.floating]
    """(test patches that have the modality, classes), in the order of the store's rows."""
    run: str = ""
    """Name of its folder; empty for floors and references."""
    branch: str = ""
    head: bool = False
    """Whether the encoder's own head answered."""
    size: int | None = None
    """Side in px of what the encoder takes, where that is not the study's."""


Gathered = Mapping[Condition, list[Evaluation]]


def conclude(
    config: StudyConfig,
    store: Store,
    runs: Sequence[RunConfig],
    evaluations: Sequence[Evaluation],
    caveats: Sequence[str],
    tasks: Mapping[str, HasLabels] | None = None,
) -> Results:
    """The results of a study, from what its encoders and floors answered.

    `tasks` says how `store` poses the study's tasks, where it is another store than the study's.
    """
    tasks = tasks or {spec: build_task(spec) for spec in config.tasks}
    gathered: dict[Condition, list[Evaluation]] = {}
    for one in sorted(evaluations, key=_rank):
        gathered.setdefault(one.condition, []).append(one)
    subsets = {
        (c.task, c.modality): store.select(modality(c.modality), task=tasks[c.task], check=False)
        for c in gathered
    }
    scores = {
        condition: [score(one.probabilities, _truth(subsets, condition)) for one in group]
        for condition, group in gathered.items()
    }
    curves = _curves(gathered, {run.out.name: Run(run.out) for run in runs})
    floors = {
        condition: float(np.mean([one.values["accuracy"] for one in reached]))
        for condition, reached in scores.items()
        if condition.floor
    }
    summaries = [
        _summary(condition, group, scores[condition], subsets, curves, floors, config.train.size)
        for condition, group in gathered.items()
    ]
    return Results(
        config=config,
        table=_table(gathered, scores),
        curves=curves,
        summaries=summaries,
        contrasts=_contrasts(gathered, subsets, config, summaries),
        floors_not_exceeded=list(_floors_not_exceeded(summaries)),
        data=data_facts(store, tasks),
        runs=[_record(run) for run in {run.out: run for run in runs}.values()],
        caveats=list(caveats),
    )


def _rank(evaluation: Evaluation) -> tuple[bool, ...]:
    """Arms of the primary modalities first, then of the privileged one, references, floors."""
    condition = evaluation.condition
    return condition.floor, condition.reference, evaluation.branch == "privileged"


Subsets = Mapping[tuple[str, str], Store]


def _truth(subsets: Subsets, condition: Condition) -> npt.NDArray[np.int64]:
    store = subsets[condition.task, condition.modality]
    return store.labels[store.indices("test")]


def _table(gathered: Gathered, scores: Mapping[Condition, list[Scores]]) -> pd.DataFrame:
    lines = [
        (one.run, *_key(condition), condition.task, condition.encoder, one.seed, metric, value)
        for condition, group in gathered.items()
        for one, reached in zip(group, scores[condition], strict=True)
        for metric, value in reached.values.items()
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _key(condition: Condition) -> tuple[str, ...]:
    return (
        condition.arm,
        condition.sharing,
        condition.objective,
        condition.modality,
        condition.partner,
    )


def _summary(
    condition: Condition,
    group: Sequence[Evaluation],
    scores: Sequence[Scores],
    subsets: Subsets,
    curves: pd.DataFrame,
    floors: Mapping[Condition, float],
    size: int,
) -> Summary:
    store = subsets[condition.task, condition.modality]
    predictions = np.stack([one.probabilities.argmax(1) for one in group])
    truth, groups = _truth(subsets, condition), store.groups("test")
    intervals = {
        name: bootstrap(metric, predictions, truth, classes=len(store.classes), groups=groups)
        for name, metric in CONFUSION_METRICS.items()
    }
    how = modality(condition.modality)
    side = store.array(how.array).shape[1]
    resolution = how.resolution(min(side, group[0].size or size))
    scale = None if how.vector else store.scale(how.array)
    return Summary(
        condition=condition,
        accuracies=tuple(one.values["accuracy"] for one in scores),
        intervals=intervals,
        means={
            name: float(np.mean([one.values[name] for one in scores])) for name in scores[0].values
        },
        recall=_mean_recall(scores),
        confusion=_summed([one.confusion for one in scores]),
        resolution=resolution,
        um_per_px=scale * side / resolution if scale and resolution else None,
        head=group[0].head,
        rising=_rises(curves, condition),
        not_above=_not_above(condition, intervals, floors) if condition.trained else "",
    )


def _not_above(
    condition: Condition, intervals: Mapping[str, Interval], floors: Mapping[Condition, float]
) -> str:
    """The first floor, of those that anything trained exceeds, that an arm is not above."""
    reached = intervals["accuracy"].estimate
    for floor, accuracy in floors.items():
        same = (floor.task, floor.modality) == (condition.task, condition.modality)
        if same and floor.arm in UNTRAINED_FLOORS and reached <= accuracy:
            return floor.arm
    return ""


def _mean_recall(scores: Sequence[Scores]) -> tuple[float | None, ...]:
    columns = zip(*(one.recall for one in scores), strict=True)
    return tuple(
        None if None in column else float(np.mean(np.asarray(column, dtype=float)))
        for column in columns
    )


def _summed(matrices: Sequence[tuple[tuple[int, ...], ...]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(n) for n in row) for row in np.sum(np.array(matrices), axis=0))


# --------------------------------------------------------------------------------------------------
# Contrasts
# --------------------------------------------------------------------------------------------------


def _contrasts(
    gathered: Gathered, subsets: Subsets, config: StudyConfig, summaries: Sequence[Summary]
) -> list[Contrast]:
    """The questions a study is asked, each answered with an interval and a paired test."""
    asked = [
        (name, a, b)
        for task in config.tasks
        for spec in config.asked
        for objective in config.objectives
        for name, a, b in _questions(gathered, task, spec, objective, config)
    ]
    correct = {
        condition: np.stack(
            [
                one.probabilities.argmax(1) == _truth(subsets, condition)
                for one in gathered[condition]
            ]
        )
        for condition in {c for _, a, b in asked for c in (a, b)}
    }
    sides = [
        (correct[a], correct[b], subsets[a.task, a.modality].groups("test")) for _, a, b in asked
    ]
    untrained = {
        s.condition: f"{s.condition.title} is not above {s.not_above}"
        for s in summaries
        if s.not_above
    }
    remarks = [untrained.get(a) or untrained.get(b) or "" for _, a, b in asked]
    return [
        Contrast(
            **vars(test),
            name=name,
            a=a,
            b=b,
            mcnemar=tuple(mcnemar(x, y) for x, y in zip(correct[a], correct[b], strict=False)),
        )
        for (name, a, b), test in zip(asked, contrast_tests(sides, remarks), strict=True)
    ]


def _questions(
    conditions: Iterable[Condition], task: str, spec: str, objective: str, config: StudyConfig
) -> Iterator[tuple[str, Condition, Condition]]:
    """Pairs of arms of one modality and objective. Like is compared with like; the paper's own
    headline, independent against shared weights, is there too and says so."""
    # A modality may have been trained with several others; the question is that of its own pair.
    partners = (config.privileged,) if spec in config.primary else config.primary
    known = {
        (c.arm, c.variant): c
        for c in conditions
        if (c.task, c.modality) == (task, spec)
        and (
            c.objective == objective
            or (c.arm, c.objective) == ("supervised", task)
            or c.arm == "distillation"
        )
        and c.partner in ("", *partners)
    }

    def pairs(a: tuple[str, str], b: tuple[str, str], name: str) -> Iterator[tuple]:  # type: ignore[type-arg]
        if a in known and b in known:
            yield name, known[a], known[b]

    for sharing in ("shared", "independent"):
        a, b = ("asymmetric", sharing), ("symmetric", sharing)
        yield from pairs(a, b, f"asymmetric - symmetric, both {sharing}")
    yield from pairs(
        ("asymmetric", "independent"),
        ("symmetric", "shared"),
        "asymmetric independent - symmetric shared (the paper's headline)",
    )
    for kind in ("symmetric", "asymmetric"):
        a, b = ("trident", "independent"), (kind, "independent")
        yield from pairs(a, b, f"trident - {kind}, both independent")
    for student in [way for way in known if way[0] == "distillation"]:
        for kind in ("symmetric", "asymmetric"):
            b = (kind, "independent")
            yield from pairs(student, b, f"distillation, {student[1]} - {kind} independent")
    if not config.both_ways:  # there, supervised encoders are asked tasks that they did not learn
        for sharing in ("shared", "independent"):
            a, b = ("asymmetric", sharing), ("supervised", "")
            yield from pairs(a, b, f"asymmetric {sharing} - supervised")


def _floors_not_exceeded(summaries: Sequence[Summary]) -> Iterator[FloorNotExceeded]:
    """The modalities and tasks on which no arm is above the highest floor."""
    for task, spec in dict.fromkeys((s.condition.task, s.condition.modality) for s in summaries):
        here = [s for s in summaries if (s.condition.task, s.condition.modality) == (task, spec)]
        arms = [s for s in here if s.condition.trained]
        floors = [s for s in here if s.condition.floor]
        if not arms or not floors:
            continue
        best = max(arms, key=lambda s: s.accuracy.estimate)
        high = max(floors, key=lambda s: s.accuracy.estimate)
        if best.accuracy.estimate <= high.accuracy.estimate:
            yield FloorNotExceeded(
                modality=spec,
                task=task,
                floor=high.condition.arm,
                floor_accuracy=high.accuracy.estimate,
                arm=best.condition.title,
                arm_accuracy=best.accuracy.estimate,
            )


# --------------------------------------------------------------------------------------------------
# Curves, data, runs
# --------------------------------------------------------------------------------------------------


def _curves(gathered: Gathered, runs: Mapping[str, Run]) -> pd.DataFrame:
    """Every learning curve that was drawn, a line a point, of the first task."""
    lines = []
    drawn = set()
    for condition, group in gathered.items():
        for one in group:
            if not one.run or (one.run, one.branch) in drawn:
                continue
            drawn.add((one.run, one.branch))
            path = runs[one.run].path / "curve.csv"
            if not path.is_file():
                continue
            points = pd.read_csv(path)
            points = points[points["branch"] == one.branch]
            lines += [
                (one.run, *_key(condition), one.seed, step, accuracy)
                for step, accuracy in zip(points["step"], points["accuracy"], strict=True)
            ]
    return pd.DataFrame(lines, columns=list(CURVE_COLUMNS))


def _rises(curves: pd.DataFrame, condition: Condition) -> bool | None:
    """Whether the mean curve over seeds still rose; None where that is not known."""
    mask = np.ones(len(curves), dtype=bool)
    for name, value in zip(COLUMNS[1:6], _key(condition), strict=True):
        mask &= (curves[name] == value).to_numpy(dtype=bool)
    per_seed = [group["accuracy"].to_numpy() for _, group in curves[mask].groupby("seed")]
    if not per_seed or min(map(len, per_seed)) < 8:
        return None
    length = min(map(len, per_seed))
    mean = np.mean([curve[:length] for curve in per_seed], axis=0)
    quarter = length // 4
    return bool(mean[-quarter:].mean() - mean[-2 * quarter : -quarter].mean() > RISING)


def data_facts(store: Store, tasks: Mapping[str, HasLabels]) -> Data:
    """What results say of the patches that they rest on."""
    classes = {}
    for spec, task in tasks.items():
        own = store.select(task=task, check=False)
        train, test = (
            np.bincount(own.labels[own.indices(split)], minlength=len(own.classes))
            for split in ("train", "test")
        )
        classes[spec] = {name: (int(train[k]), int(test[k])) for k, name in enumerate(own.classes)}
    groups = store.groups("test")
    return Data(
        title=store.meta.datasheet.title,
        side=store.side,
        um_per_px=store.um_per_px,
        hash=store.hash,
        patches={split: len(store.indices(split)) for split in ("train", "val", "test")},
        classes=classes,
        groups=None if groups is None else len(set(groups)),
        caveats=store.caveats,
    )


def _record(config: RunConfig) -> RunRecord:
    record = Run(config.out).record
    facts = {**record.facts, "versions": record.versions}
    return RunRecord(config.out.name, config.seed, record.options, facts)
