"""Classes shared by two stores, and feature distances against closed forms."""

import numpy as np
import pytest
from msgspec import structs
from sklearn.metrics import brier_score_loss

from morefromless.data.labels import UNLABELLED
from morefromless.data.store import Store
from morefromless.errors import DataError
from morefromless.evaluation.cohort import SharedTask
from morefromless.evaluation.conclude import data_facts
from morefromless.evaluation.metrics import score
from morefromless.evaluation.shift import feature_distances
from morefromless.tasks.tissue import Tissue


def test_classes_keep_the_order_of_training(tissue: Store) -> None:
    trained = tuple(reversed(tissue.classes))
    names, labels = SharedTask(Tissue(), trained).labels(tissue)
    assert names == trained
    assert [names[label] for label in labels] == tissue.table["label"].tolist()


def test_probabilities_of_merged_classes_are_added(tissue: Store) -> None:
    first, second, *remaining = tissue.classes
    task = SharedTask(
        Tissue(), tissue.classes, {first: "both", second: "both", remaining[0]: "third"}
    )
    names, labels = task.labels(tissue)
    assert names == ("both", "third", *remaining[1:])
    expected = ["both" if n in (first, second) else n for n in tissue.table["label"]]
    assert [names[code].replace("third", remaining[0]) for code in labels] == expected
    probabilities = np.random.default_rng(0).dirichlet(np.ones(len(tissue.classes)), 5)
    merged = task.merged(probabilities)
    np.testing.assert_allclose(merged[:, 0], probabilities[:, 0] + probabilities[:, 1])
    np.testing.assert_allclose(merged[:, 1:], probabilities[:, 2:])


def test_untrained_class_is_refused(tissue: Store) -> None:
    task = SharedTask(Tissue(), tissue.classes[1:])
    with pytest.raises(DataError, match=rf"has '{tissue.classes[0]}', but .*--classes or --drop"):
        task.labels(tissue)
    trained = tissue.table["label"] != tissue.classes[0]
    table = tissue.table.assign(split=tissue.table["split"].where(trained, None))
    restricted = Store(tissue.path, tissue.meta, table, tissue.arrays)
    _, labels = task.labels(restricted)  # only test patches are evaluated
    assert labels[restricted.indices("test")].min() >= 0


def test_training_patches_of_untrained_classes_are_not_counted(tissue: Store) -> None:
    first, *trained = tissue.classes
    excluded = (tissue.table["label"] == first) & (tissue.table["split"] == "test")
    table = tissue.table.assign(split=tissue.table["split"].mask(excluded, None))
    cohort = Store(tissue.path, tissue.meta, table, tissue.arrays)
    counts = data_facts(cohort, {"tissue": SharedTask(Tissue(), trained)}).classes["tissue"]
    expected = data_facts(tissue, {"tissue": Tissue()}).classes["tissue"]
    assert counts == {name: expected[name] for name in trained}


def test_brier_score_matches_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(4), 50), rng.integers(0, 4, 50)
    expected = brier_score_loss(labels, probabilities, labels=range(4), scale_by_half=False)
    assert score(probabilities, labels).values["brier"] == pytest.approx(expected)


def test_feature_distance_matches_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(6, 6))
    train, near = rng.normal(size=(20_001, 6)) @ mixing, rng.normal(size=(400, 6)) @ mixing
    far = near * 1.5 + 1
    covariance, mean = np.cov(train.T), train.mean(0)
    for features in (near, far):
        d = features - mean
        expected = np.sqrt(np.einsum("ij,jk,ik->i", d, np.linalg.inv(covariance), d).mean() / 6)
        distance = feature_distances(train, features)
        assert distance == pytest.approx([expected], rel=0.02)
        assert feature_distances(7 * train, 7 * features) == pytest.approx(distance)
    wide = rng.normal(size=(10, 64))  # fewer patches than features
    assert np.isfinite(feature_distances(wide, rng.normal(size=(5, 64)))).all()


def test_unlabelled_patches_are_not_evaluated(tissue: Store) -> None:
    unlabelled = np.arange(len(tissue.table)) % 3 == 0
    table = tissue.table.assign(label=tissue.table["label"].mask(unlabelled, UNLABELLED))
    meta = structs.replace(tissue.meta, classes=(*tissue.classes, UNLABELLED))
    cohort = Store(tissue.path, meta, table, tissue.arrays)
    task = SharedTask(Tissue(), tissue.classes)
    names, labels = task.labels(cohort)
    assert (names, labels.tolist()) == (
        tissue.classes,
        np.where(unlabelled, -1, tissue.labels).tolist(),
    )
    facts = data_facts(cohort, {"tissue": task})
    evaluated = (tissue.table["split"] == "test") & ~unlabelled
    assert facts.patches["test"] == evaluated.sum()
    assert facts.groups == tissue.table["group"][evaluated].nunique()
    assert sum(test for _, test in facts.classes["tissue"].values()) == evaluated.sum()
