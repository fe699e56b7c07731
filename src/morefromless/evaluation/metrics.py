"""Metrics: scores of predicted class probabilities. To add a metric, register one function:

    @confusion_metric
    def specificity(confusion): ...            counts (..., C, C) -> (...)

    @probability_metric
    def log_loss(probabilities, labels): ...   (N, C) and (N,) -> float

A registered metric appears in every table and file under its function's name. A confusion metric
takes a batch of confusion matrices, so its estimate and its bootstrap interval (`intervals`) use
the same definition. An undefined metric is NaN. It is an empty cell in CSV files, null in JSON, and
a dash in tables.

If a class has no patch in the test labels, its recall is None, and balanced accuracy averages over
the other classes. Macro-F1 averages over the classes that occur in the labels or in the
predictions, as in scikit-learn and torchmetrics.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from morefromless.errors import DataError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ConfusionMetric = Callable[[Floats], Floats]
ProbabilityMetric = Callable[[Floats, Ints], float]

CONFUSION_METRICS: dict[str, ConfusionMetric] = {}
PROBABILITY_METRICS: dict[str, ProbabilityMetric] = {}


def confusion_metric(function: ConfusionMetric) -> ConfusionMetric:
    """Register a function of confusion matrices; it is reported with a confidence interval."""
    CONFUSION_METRICS[function.__name__] = function
    return function


def probability_metric(function: ProbabilityMetric) -> ProbabilityMetric:
    """Register a function of probabilities and labels; it is reported as the mean over seeds."""
    PROBABILITY_METRICS[function.__name__] = function
    return function


@dataclass(frozen=True)
class Scores:
    """Scores of one set of predictions, as fractions in [0, 1], not per cent."""

    values: dict[str, float]
    """Every registered metric by name: accuracy, balanced_accuracy, macro_f1, ece, brier ..."""
    recall: tuple[float | None, ...]
    """Per class; None if the class has no patch in the labels."""
    confusion: tuple[tuple[int, ...], ...]
    """Confusion matrix of counts: rows are the true classes, columns the predicted ones."""


def score(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> Scores:
    """Compute all metrics of `probabilities` (N, classes), rows summing to one, and `labels` (N,).

    The prediction is the most probable class; ties go to the first one. Raises `DataError` if a
    probability is not finite or a label is not one of the classes.
    """
    p, truth = np.asarray(probabilities, np.float64), np.asarray(labels, np.int64)
    if p.ndim != 2 or truth.shape != p.shape[:1] or not len(p):
        raise ValueError(f"expected (N, classes) and (N,), got {p.shape} and {truth.shape}")
    classes = p.shape[1]
    if not np.isfinite(p).all():
        raise DataError("The predicted probabilities are not finite; fit the probe again.")
    if np.abs(p.sum(1) - 1).max() > 1e-3 or p.min() < -1e-6:
        raise ValueError("rows of probabilities must be non-negative and sum to one (not logits)")
    matrix = confusion(p.argmax(1), truth, classes).astype(np.float64)
    values = {name: float(metric(matrix)) for name, metric in CONFUSION_METRICS.items()}
    values |= {name: metric(p, truth) for name, metric in PROBABILITY_METRICS.items()}
    recalls = _recalls(matrix)
    return Scores(
        values=values,
        recall=tuple(None if np.isnan(value) else float(value) for value in recalls),
        confusion=tuple(tuple(int(count) for count in row) for row in matrix),
    )


def confusion(predictions: npt.ArrayLike, labels: npt.ArrayLike, classes: int) -> Ints:
    """Confusion matrix of counts (classes, classes): rows are true classes, columns predictions."""
    predicted, truth = np.asarray(predictions, np.int64), np.asarray(labels, np.int64)
    outside = np.union1d(predicted, truth)
    if outside[0] < 0 or outside[-1] >= classes:
        raise DataError(
            f"Labels or predictions range from {outside[0]} to {outside[-1]}, but there are "
            f"{classes} classes; give labels and classes that match."
        )
    counts: Ints = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


@confusion_metric
def accuracy(confusion: npt.ArrayLike) -> Floats:
    """Fraction of patches on the diagonal: (..., C, C) counts -> (...)."""
    counts = np.asarray(confusion, np.float64)
    result: Floats = np.trace(counts, axis1=-2, axis2=-1) / counts.sum((-2, -1))
    return result


@confusion_metric
def balanced_accuracy(confusion: npt.ArrayLike) -> Floats:
    """Mean recall over the classes that have patches: (..., C, C) counts -> (...)."""
    recalls = _recalls(np.asarray(confusion, np.float64))
    result: Floats = np.nanmean(recalls, axis=-1)
    return result


@confusion_metric
def macro_f1(confusion: npt.ArrayLike) -> Floats:
    """Mean F1 = 2 TP / (2 TP + FP + FN) over the classes that occur: (..., C, C) -> (...)."""
    counts = np.asarray(confusion, np.float64)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    result: Floats = np.nanmean(_ratio(2 * hits, counts.sum(-1) + counts.sum(-2)), axis=-1)
    return result


@confusion_metric
def cohen_kappa(confusion: npt.ArrayLike) -> Floats:
    """Cohen's kappa, (accuracy - chance) / (1 - chance): (..., C, C) counts -> (...).

    Chance is the accuracy of independent predictions with the same frequencies (Cohen 1960). The
    value is 0 if all labels and predictions are the same class, where the ratio is undefined.
    """
    counts = np.asarray(confusion, np.float64)
    chance = (counts.sum(-1) * counts.sum(-2)).sum(-1) / counts.sum((-2, -1)) ** 2
    return np.nan_to_num(_ratio(accuracy(counts) - chance, np.asarray(1 - chance)))


@probability_metric
def auroc(probabilities: Floats, labels: Ints) -> float:
    """Area under the ROC curve, one-vs-rest, mean over the classes that occur.

    The value is 0.5 if all patches have the same class, where the curve is undefined.
    """
    from scipy.stats import rankdata

    present = _classes_if_several(labels)
    if not len(present):
        return 0.5
    # The area is the Mann-Whitney statistic, computed from the ranks of all classes at once.
    truth = labels[:, None] == present
    ranks = rankdata(probabilities[:, present], axis=0)
    positive = truth.sum(axis=0)
    above = (ranks * truth).sum(axis=0) - positive * (positive + 1) / 2
    return float((above / (positive * (len(labels) - positive))).mean())


@probability_metric
def auprc(probabilities: Floats, labels: Ints) -> float:
    """Average precision, one-vs-rest, mean over the classes that occur.

    The value is 1 if all patches have the same class.
    """
    from scipy.stats import rankdata

    present = _classes_if_several(labels)
    # Mean over the patches of a class of the precision among patches ranked at least as high.
    ranks = rankdata(-probabilities[:, present], "max", axis=0)
    areas = []
    for k, of_all in zip(present, ranks.T, strict=True):
        of_class = rankdata(-probabilities[labels == k, k], "max")
        areas.append((of_class / of_all[labels == k]).mean())
    return float(np.mean(areas)) if areas else 1.0


@probability_metric
def ece(probabilities: Floats, labels: Ints) -> float:
    """Expected calibration error: mean |confidence - accuracy| over 15 equal bins (L1)."""
    # Imported here because importing torchmetrics is slow and planning a study does not need it.
    from torchmetrics.functional.classification import multiclass_calibration_error

    # With a probability of 1 + 1e-7, torchmetrics would treat all values as logits.
    bounded = torch.from_numpy(probabilities.clip(0, 1))
    error = multiclass_calibration_error(
        bounded, torch.from_numpy(labels), num_classes=probabilities.shape[1], n_bins=15
    )
    return float(error)


@probability_metric
def brier(probabilities: Floats, labels: Ints) -> float:
    """Brier score: mean over patches of Σ_k (p_k - y_k)², from 0 (best) to 2 (Brier 1950)."""
    truth = np.eye(probabilities.shape[1])[labels]
    return float(np.square(probabilities - truth).sum(1).mean())


def _classes_if_several(labels: Ints) -> Ints:
    """The classes that occur, or none if all patches have the same class."""
    present = np.unique(labels)
    return present if len(present) > 1 else present[:0]


def _recalls(counts: npt.NDArray[Any]) -> Floats:
    return _ratio(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1))


def _ratio(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> Floats:
    """Divide; NaN if `denominator` is zero (a class that does not occur)."""
    undefined = np.full(denominator.shape, np.nan)
    result: Floats = np.divide(numerator, denominator, out=undefined, where=denominator > 0)
    return result
