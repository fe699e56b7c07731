"""Summaries: statistics of a condition over its seeds, and whether it is above the floors."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from morefromless.data.store import Store
from morefromless.evaluation.evaluate import Evaluation
from morefromless.evaluation.intervals import Interval, bootstrap
from morefromless.evaluation.metrics import CONFUSION_METRICS, Scores
from morefromless.evaluation.results import ENCODER_FIELDS, Condition, Summary
from morefromless.pairs import build_modality

MIN_RISE = 0.01
"""A learning curve still rises if the mean of its last quarter is higher than that of the quarter
before by more than this."""

UNTRAINED_FLOORS = ("majority", "random encoder")
"""Floors that every arm that learnt anything exceeds."""


def summarise(
    condition: Condition,
    evaluations: Sequence[Evaluation],
    seed_scores: Sequence[Scores],
    store: Store,
    curves: pd.DataFrame,
    floors: Mapping[Condition, float],
    size: int,
) -> Summary:
    """Summarise one condition over its seeds.

    `store` has the condition's labels, and `floors` has the mean accuracy of each floor of the
    study. `size` is the input side in px of the study's encoders.
    """
    rows = store.indices("test")
    predictions = np.stack([evaluation.probabilities.argmax(1) for evaluation in evaluations])
    intervals = {
        name: bootstrap(
            metric,
            predictions,
            store.labels[rows],
            classes=len(store.classes),
            groups=store.groups("test"),
        )
        for name, metric in CONFUSION_METRICS.items()
    }
    view = build_modality(condition.modality)
    side = store.array(view.array).shape[1]
    resolution = view.resolution(min(side, evaluations[0].size or size))
    scale = None if view.vector else store.scale(view.array)
    confusion = np.sum([scores.confusion for scores in seed_scores], axis=0)
    return Summary(
        condition=condition,
        accuracies=tuple(scores.values["accuracy"] for scores in seed_scores),
        intervals=intervals,
        means={
            name: float(np.mean([scores.values[name] for scores in seed_scores]))
            for name in seed_scores[0].values
        },
        recall=_mean_recall(seed_scores),
        confusion=tuple(map(tuple, confusion.tolist())),
        resolution=resolution,
        um_per_px=scale * side / resolution if scale and resolution else None,
        head=evaluations[0].head,
        rising=_rises(curves, condition),
        not_above=_not_above(condition, intervals["accuracy"], floors),
    )


def _not_above(condition: Condition, accuracy: Interval, floors: Mapping[Condition, float]) -> str:
    """The first of `UNTRAINED_FLOORS` that an arm is not above; else empty."""
    if not condition.trained:
        return ""
    for floor, floor_accuracy in floors.items():
        same = (floor.task, floor.modality) == (condition.task, condition.modality)
        if same and floor.arm in UNTRAINED_FLOORS and accuracy.estimate <= floor_accuracy:
            return floor.arm
    return ""


def _mean_recall(seed_scores: Sequence[Scores]) -> tuple[float | None, ...]:
    columns = zip(*(scores.recall for scores in seed_scores), strict=True)
    return tuple(
        None if None in column else float(np.mean(np.asarray(column, dtype=float)))
        for column in columns
    )


def _rises(curves: pd.DataFrame, condition: Condition) -> bool | None:
    """Whether the mean curve over seeds still rises; None if a curve has fewer than 8 points."""
    mask = np.ones(len(curves), dtype=bool)
    for name in ENCODER_FIELDS:
        mask &= (curves[name] == getattr(condition, name)).to_numpy(dtype=bool)
    per_seed = [group["accuracy"].to_numpy() for _, group in curves[mask].groupby("seed")]
    if not per_seed or min(map(len, per_seed)) < 8:
        return None
    length = min(map(len, per_seed))
    mean = np.mean([curve[:length] for curve in per_seed], axis=0)
    quarter = length // 4
    return bool(mean[-quarter:].mean() - mean[-2 * quarter : -quarter].mean() > MIN_RISE)
