"""Compute results from evaluations: the tidy table, summaries over seeds, contrasts, floors."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless.config import RunConfig, StudyConfig
from morefromless.data.store import HasLabels, Store
from morefromless.evaluation.comparisons import comparisons
from morefromless.evaluation.contrasts import contrast_tests
from morefromless.evaluation.evaluate import Evaluation
from morefromless.evaluation.metrics import Scores, score
from morefromless.evaluation.paired import mcnemar
from morefromless.evaluation.results import (
    COLUMNS,
    CURVE_COLUMNS,
    KEY,
    Condition,
    Contrast,
    Data,
    FloorNotExceeded,
    Results,
    RunRecord,
    Summary,
)
from morefromless.evaluation.summaries import summarise
from morefromless.pairs import build_modality
from morefromless.runs import Run
from morefromless.tasks import build_task

Groups = Mapping[Condition, Sequence[Evaluation]]
"""Evaluations by condition, one per seed."""


def conclude(
    config: StudyConfig,
    store: Store,
    runs: Sequence[RunConfig],
    evaluations: Sequence[Evaluation],
    caveats: Sequence[str],
    tasks: Mapping[str, HasLabels] | None = None,
) -> Results:
    """Compute the results of a study from the evaluations of its encoders and floors.

    `tasks` gives the labels of the study's tasks in `store`, if `store` is not the study's store.
    """
    tasks = tasks or {spec: build_task(spec) for spec in config.tasks}
    groups: dict[Condition, list[Evaluation]] = {}
    for evaluation in sorted(evaluations, key=_rank):
        groups.setdefault(evaluation.condition, []).append(evaluation)
    labelled = {
        (task, spec): store.select(build_modality(spec), task=tasks[task], check=False)
        for task, spec in dict.fromkeys((c.task, c.modality) for c in groups)
    }
    stores = {c: labelled[c.task, c.modality] for c in groups}
    scores = {
        condition: [
            score(evaluation.probabilities, _truth(stores[condition])) for evaluation in group
        ]
        for condition, group in groups.items()
    }
    curves = _curves(groups, {run.out.name: Run(run.out) for run in runs})
    floors = {
        c: float(np.mean([of_seed.values["accuracy"] for of_seed in scores[c]]))
        for c in groups
        if c.floor
    }
    summaries = [
        summarise(c, group, scores[c], stores[c], curves, floors, config.train.size)
        for c, group in groups.items()
    ]
    return Results(
        config=config,
        table=_table(groups, scores),
        curves=curves,
        summaries=summaries,
        contrasts=_contrasts(groups, stores, config, summaries),
        floors_not_exceeded=list(_floors_not_exceeded(summaries)),
        data=data_facts(store, tasks),
        runs=[_record(run) for run in {run.out: run for run in runs}.values()],
        caveats=list(caveats),
    )


def _rank(evaluation: Evaluation) -> tuple[bool, ...]:
    """Sort key: arms of the primary modalities, of the privileged modality, references, floors."""
    condition = evaluation.condition
    return condition.floor, condition.reference, evaluation.branch == "privileged"


def _truth(store: Store) -> npt.NDArray[np.int64]:
    return store.labels[store.indices("test")]


def _table(groups: Groups, scores: Mapping[Condition, Sequence[Scores]]) -> pd.DataFrame:
    lines = [
        (e.run, *_key(condition), condition.task, condition.encoder, e.seed, metric, value)
        for condition, group in groups.items()
        for e, of_seed in zip(group, scores[condition], strict=True)
        for metric, value in of_seed.values.items()
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _key(condition: Condition) -> tuple[str, ...]:
    return tuple(getattr(condition, name) for name in KEY)


def _curves(groups: Groups, runs: Mapping[str, Run]) -> pd.DataFrame:
    """All learning curves, one line per point. The task is the study's first one or, for arms that
    are trained on labels, their own."""
    lines = []
    drawn = set()
    for condition, group in groups.items():
        for evaluation in group:
            branch = (evaluation.run, evaluation.branch)
            if not evaluation.run or branch in drawn:
                continue
            drawn.add(branch)
            path = runs[evaluation.run].path / "curve.csv"
            if not path.is_file():
                continue
            points = pd.read_csv(path)
            points = points[points["branch"] == evaluation.branch]
            lines += [
                (evaluation.run, *_key(condition), evaluation.seed, step, accuracy)
                for step, accuracy in zip(points["step"], points["accuracy"], strict=True)
            ]
    return pd.DataFrame(lines, columns=list(CURVE_COLUMNS))


def _contrasts(
    groups: Groups,
    stores: Mapping[Condition, Store],
    config: StudyConfig,
    summaries: Sequence[Summary],
) -> list[Contrast]:
    """Test every comparison of the study: confidence interval and paired tests."""
    pairs = comparisons(groups, config)
    correct = {
        condition: np.stack(
            [e.probabilities.argmax(1) == _truth(stores[condition]) for e in groups[condition]]
        )
        for condition in {c for _, a, b in pairs for c in (a, b)}
    }
    sides = [(correct[a], correct[b], stores[a].groups("test")) for _, a, b in pairs]
    untrained = {
        s.condition: f"{s.condition.title} is not above {s.not_above}"
        for s in summaries
        if s.not_above
    }
    remarks = [untrained.get(a) or untrained.get(b) or "" for _, a, b in pairs]
    return [
        Contrast(
            **vars(test),
            name=name,
            a=a,
            b=b,
            mcnemar=tuple(mcnemar(x, y) for x, y in zip(correct[a], correct[b], strict=False)),
        )
        for (name, a, b), test in zip(pairs, contrast_tests(sides, remarks), strict=True)
    ]


def _floors_not_exceeded(summaries: Sequence[Summary]) -> Iterator[FloorNotExceeded]:
    """List the modalities and tasks on which no arm is above the highest floor."""
    for task, spec in dict.fromkeys((s.condition.task, s.condition.modality) for s in summaries):
        conditions = ((s, s.condition) for s in summaries)
        rows = [s for s, c in conditions if (c.task, c.modality) == (task, spec)]
        arms = [s for s in rows if s.condition.trained]
        floors = [s for s in rows if s.condition.floor]
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


def data_facts(store: Store, tasks: Mapping[str, HasLabels]) -> Data:
    """Describe the data of an evaluation."""
    classes, asked = {}, set[int]()
    for spec, task in tasks.items():
        labelled = store.select(task=task, check=False)
        asked |= {*labelled.indices("test").tolist()}
        train, test = (
            np.bincount(labelled.labels[labelled.indices(split)], minlength=len(labelled.classes))
            for split in ("train", "test")
        )
        classes[spec] = {
            name: (int(train[k]), int(test[k])) for k, name in enumerate(labelled.classes)
        }
    patches = {split: len(store.indices(split)) for split in ("train", "val", "test")}
    return Data(
        title=store.meta.datasheet.title,
        side=store.side,
        um_per_px=store.um_per_px,
        hash=store.hash,
        patches={**patches, "test": len(asked)},
        classes=classes,
        groups=store.table["group"].iloc[[*asked]].nunique() if store.groups_known else None,
        caveats=store.caveats,
    )


def _record(config: RunConfig) -> RunRecord:
    record = Run(config.out).record
    facts = {**record.facts, "versions": record.versions}
    return RunRecord(config.out.name, config.seed, record.options, facts)
