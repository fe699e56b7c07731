"""Predictions of a frozen encoder with each probe."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from morefromless.config import Probe
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.evaluation.evaluate import evaluate_encoder
from morefromless.evaluation.frozen import random_encoder


def test_nearest_neighbour_predictions_are_cached(tissue: Store, tmp_path: Path) -> None:
    frozen = random_encoder("test_resnet", "downsample:8", 32, 0, tmp_path)
    first = evaluate_encoder(frozen, tissue, Probe(probe="knn:5"), "tissue", 0)
    train, test = tissue.indices("train"), tissue.indices("test")
    neighbours = KNeighborsClassifier(5, metric="cosine")
    neighbours.fit(frozen.represent(tissue, train), tissue.labels[train])
    expected = neighbours.predict_proba(frozen.represent(tissue, test))
    np.testing.assert_allclose(first.probabilities, expected, atol=1e-6)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    cached = evaluate_encoder(frozen, tissue, Probe(probe="knn:5"), "tissue", 0)
    assert np.array_equal(cached.probabilities, first.probabilities)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    with pytest.raises(ConfigError, match="has no gradients"):
        assert first.classifier
    ridge = evaluate_encoder(frozen, tissue, Probe(probe="ridge"), "tissue", 0)
    assert ridge.classifier
    assert {path.name for path in tmp_path.glob("probe-*")} == {
        "probe-random-knn-5.safetensors",
        "probe-random-ridge.safetensors",
    }
