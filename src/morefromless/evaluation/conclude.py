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
    ENCODER_FIELDS,
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

EvaluationsByCondition = Mapping[Condition, Sequence[Evaluation]]
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
    by_condition: dict[Condition, list[Evaluation]] = {}
    for evaluation in sorted(evaluations, key=_rank):
        by_condition.setdefault(evaluation.condition, []).append(evaluation)
    labelled = {
        (task, spec): store.select(build_modality(spec), task=tasks[task], check=False)
        for task, spec in dict.fromkeys((c.task, c.modality) for c in by_condition)
    }
    stores = {c: labelled[c.task, c.modality] for c in by_condition}
    scores = {
        condition: [
            score(evaluation.probabilities, _truth(stores[condition])) for evaluation in group
        ]
        for condition, group in by_condition.items()
    }
    curves = _curves(by_condition, {run.out.name: Run(run.out) for run in runs})
    floors = {
        c: float(np.mean([of_seed.values["accuracy"] for of_seed in scores[c]]))
        for c in by_condition
        if c.floor
    }
    summaries = [
        summarise(c, group, scores[c], stores[c], curves, floors, config.train.size)
        for c, group in by_condition.items()
    ]
    return Results(
        config=config,
        table=_table(by_condition, scores),
        curves=curves,
        summaries=summaries,
        contrasts=_contrasts(by_condition, stores, config, summaries),
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


def _table(
    by_condition: EvaluationsByCondition, scores: Mapping[Condition, Sequence[Scores]]
) -> pd.DataFrame:
    lines = [
        (e.run, *_key(condition), condition.task, condition.encoder, e.seed, metric, value)
        for condition, evaluations in by_condition.items()
        for e, of_seed in zip(evaluations, scores[condition], strict=True)
        for metric, value in of_seed.values.items()
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _key(condition: Condition) -> tuple[str, ...]:
    return tuple(getattr(condition, name) for name in ENCODER_FIELDS)


def _curves(by_condition: EvaluationsByCondition, runs: Mapping[str, Run]) -> pd.DataFrame:
    """All learning curves, one line per point. The task is the study's first one or, for arms that
    are trained on labels, their own."""
    lines = []
    done_branches = set()
    for condition, evaluations in by_condition.items():
        for evaluation in evaluations:
            branch = (evaluation.run, evaluation.branch)
            if not evaluation.run or branch in done_branches:
                continue
            done_branches.add(branch)
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
    by_condition: EvaluationsByCondition,
    stores: Mapping[Condition, Store],
    config: StudyConfig,
    summaries: Sequence[Summary],
) -> list[Contrast]:
    """Test every comparison of the study: confidence interval and paired tests."""
    pairs = comparisons(by_condition, config)
    correct = {
        condition: np.stack(
            [
                e.probabilities.argmax(1) == _truth(stores[condition])
                for e in by_condition[condition]
            ]
        )
        for condition in {c for _, a, b in pairs for c in (a, b)}
    }
    contrasts = [(correct[a], correct[b], stores[a].groups("test")) for _, a, b in pairs]
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
        for (name, a, b), test in zip(pairs, contrast_tests(contrasts, remarks), strict=True)
    ]


def _floors_not_exceeded(summaries: Sequence[Summary]) -> Iterator[FloorNotExceeded]:
    """List the modalities and tasks on which no arm is above the highest floor."""
    for task, spec in dict.fromkeys((s.condition.task, s.condition.modality) for s in summaries):
        rows = [s for s in summaries if (s.condition.task, s.condition.modality) == (task, spec)]
        arms = [s for s in rows if s.condition.trained]
        floors = [s for s in rows if s.condition.floor]
        if not arms or not floors:
            continue
        best = max(arms, key=lambda s: s.accuracy.estimate)
        highest = max(floors, key=lambda s: s.accuracy.estimate)
        if best.accuracy.estimate <= highest.accuracy.estimate:
            yield FloorNotExceeded(
                modality=spec,
                task=task,
                floor=highest.condition.arm,
                floor_accuracy=highest.accuracy.estimate,
                arm=best.condition.title,
                arm_accuracy=best.accuracy.estimate,
            )


def data_facts(store: Store, tasks: Mapping[str, HasLabels]) -> Data:
    """Describe the data of an evaluation."""
    classes, labelled_rows = {}, set[int]()
    for spec, task in tasks.items():
        labelled = store.select(task=task, check=False)
        labelled_rows |= {*labelled.indices("test").tolist()}
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
        patches={**patches, "test": len(labelled_rows)},
        classes=classes,
        groups=store.table["group"].iloc[[*labelled_rows]].nunique()
        if store.groups_known
        else None,
        caveats=store.caveats,
    )


def _record(config: RunConfig) -> RunRecord:
    record = Run(config.out).record
    facts = {**record.facts, "versions": record.versions}
    return RunRecord(config.out.name, config.seed, record.options, facts)
