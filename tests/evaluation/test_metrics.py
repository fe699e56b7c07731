"""Metrics against scikit-learn and a naive calibration error."""

import warnings

import numpy as np
import pytest
from sklearn import metrics as reference

from morefromless.errors import DataError
from morefromless.evaluation.metrics import CONFUSION_METRICS, auprc, auroc, confusion, score


def random_predictions(
    n: int = 400, classes: int = 5, seed: int = 0, present: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are mostly correct, and labels of the first `present` classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(present or classes, size=n)
    logits = rng.normal(size=(n, classes)) * 2
    logits[np.arange(n), labels] += 2
    exp = np.exp(logits)
    return exp / exp.sum(1, keepdims=True), labels


def test_scores_match_scikit_learn() -> None:
    probabilities, labels = random_predictions()
    scores, predicted = score(probabilities, labels), probabilities.argmax(1)
    assert scores.values["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted))
    assert scores.values["balanced_accuracy"] == pytest.approx(
        reference.balanced_accuracy_score(labels, predicted)
    )
    assert scores.values["macro_f1"] == pytest.approx(
        reference.f1_score(labels, predicted, average="macro")
    )
    assert scores.values["cohen_kappa"] == pytest.approx(
        reference.cohen_kappa_score(labels, predicted)
    )
    assert scores.values["auroc"] == pytest.approx(
        reference.roc_auc_score(labels, probabilities, multi_class="ovr")
    )
    assert scores.values["auprc"] == pytest.approx(
        reference.average_precision_score(np.eye(5)[labels], probabilities, average="macro")
    )
    assert scores.recall == pytest.approx(reference.recall_score(labels, predicted, average=None))
    assert np.array_equal(scores.confusion, reference.confusion_matrix(labels, predicted))
    assert 0.3 < scores.values["accuracy"] < 0.95


def test_areas_of_tied_probabilities_match_scikit_learn() -> None:
    probabilities, labels = random_predictions()
    tied = probabilities.round(1)
    truth = np.eye(5)[labels]
    assert auroc(tied, labels) == pytest.approx(reference.roc_auc_score(truth, tied))
    assert auprc(tied, labels) == pytest.approx(reference.average_precision_score(truth, tied))


def test_areas_and_kappa_are_defined_for_absent_classes() -> None:
    probabilities, labels = random_predictions(present=2)
    values = score(probabilities, labels).values
    areas = [reference.roc_auc_score(labels == k, probabilities[:, k]) for k in (0, 1)]
    assert values["auroc"] == pytest.approx(np.mean(areas))
    single_class = score(np.eye(3)[[1, 1]], [1, 1]).values
    assert (single_class["auroc"], single_class["auprc"], single_class["cohen_kappa"]) == (
        0.5,
        1,
        0,
    )


def test_rows_of_the_confusion_matrix_are_the_true_classes() -> None:
    assert confusion([1, 1, 0], [0, 0, 0], 2).tolist() == [[1, 2], [0, 0]]


def test_calibration_error_is_the_mean_gap_over_15_bins() -> None:
    probabilities, labels = random_predictions(1000)
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            gap = abs(confidence[inside].mean() - correct[inside].mean())
            expected += inside.mean() * gap
    assert score(probabilities, labels).values["ece"] == pytest.approx(expected, abs=1e-6)
    assert expected > 0.02


def test_rounding_above_one_does_not_change_the_calibration_error() -> None:
    probabilities = np.array([[1.0, 0.0], [0.8, 0.2], [0.3, 0.7]])
    exact = score(probabilities, [0, 0, 1]).values["ece"]
    probabilities[0, 0] += 1e-6
    assert score(probabilities, [0, 0, 1]).values["ece"] == pytest.approx(exact, abs=1e-5)


def test_class_absent_from_the_labels_has_no_recall() -> None:
    probabilities, labels = random_predictions(classes=5, present=3)
    predicted = probabilities.argmax(1)
    assert set(predicted) == {0, 1, 2, 3, 4}
    with warnings.catch_warnings(action="error"):
        scores = score(probabilities, labels)
    assert scores.recall[3:] == (None, None)
    recalls = [value for value in scores.recall if value is not None]
    assert scores.values["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert scores.values["macro_f1"] == pytest.approx(
        reference.f1_score(labels, predicted, average="macro")
    )


def test_class_that_never_occurs_is_ignored() -> None:
    probabilities, labels = random_predictions(classes=3)
    wider = np.pad(probabilities, ((0, 0), (0, 2)))
    narrow, wide = score(probabilities, labels), score(wider, labels)
    assert wide.values == pytest.approx(narrow.values)


def test_metrics_accept_batches_of_confusion_matrices() -> None:
    matrices = np.random.default_rng(0).integers(0, 9, (2, 7, 4, 4))
    matrices[0, 0, 1] = 0  # a class without patches
    for statistic in CONFUSION_METRICS.values():
        assert statistic(matrices).shape == (2, 7)
        assert statistic(matrices)[0, 0] == statistic(matrices[0, 0])
        assert statistic(matrices)[1, 6] == statistic(matrices[1, 6])


def test_invalid_input_is_refused() -> None:
    probabilities, labels = random_predictions(10, 3)
    with pytest.raises(DataError, match="range from 0 to 3, but there are 3 classes"):
        score(probabilities, [*labels[:-1] * 0, 3])
    for invalid in (probabilities * 3, probabilities + np.array([1, -1, 0])):
        with pytest.raises(ValueError, match="not logits"):
            score(invalid, labels)
    with pytest.raises(ValueError, match="expected"):
        score(probabilities, labels[:-1])
    probabilities[2, 1] = np.nan
    with pytest.raises(DataError, match="not finite"):
        score(probabilities, labels)
