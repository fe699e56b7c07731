"""Learning curves: content and steps of the points."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from morefromless.data.store import Store
from morefromless.evaluation.frozen import FrozenEncoder, random_encoder
from morefromless.probes.ridge import fit_ridge_probe
from morefromless.training import curve as module
from morefromless.training.curve import Curve


def recorded_points(curve: Curve, first: int, rank: int = 0) -> pd.DataFrame:
    """The points on disk after training from step `first` to step 4."""
    learner: Any = SimpleNamespace(device=torch.device("cpu"))
    trainers: list[Any] = [
        SimpleNamespace(global_step=step, is_global_zero=rank == 0) for step in range(first, 5)
    ]
    curve.on_train_start(trainers[0], learner)
    for trainer in trainers[1:]:
        curve.on_train_batch_end(trainer, learner)
    return pd.read_csv(curve.path)


TRAIN = 60 * 3 * 32 * 32 * 4
"""Bytes of a branch's inputs for the training patches; there are fewer test patches."""


@pytest.mark.parametrize(("memory", "rendered"), [(TRAIN, 4), (TRAIN - 1, 2 * 3 + 2)])
def test_a_point_is_the_accuracy_of_a_ridge_probe(
    memory: int, rendered: int, tissue: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    batches = FrozenEncoder.batches
    monkeypatch.setattr(FrozenEncoder, "batches", lambda *a: calls.append(a) or batches(*a))
    monkeypatch.setattr(module, "MAX_CACHED_BYTES", memory)
    monkeypatch.setattr(module, "MAX_PATCHES", 60)
    encoders = {
        name: random_encoder("test_resnet", spec, 32, 0, tmp_path)
        for name, spec in {"primary": "downsample:8", "privileged": "full"}.items()
    }
    path = tmp_path / "curve.csv"
    curve = Curve(encoders, tissue, path, every=3, total=4)
    points = recorded_points(curve, 0)
    assert points["step"].tolist() == [0, 0, 3, 3, 4, 4]
    assert points["branch"].tolist() == ["primary", "privileged"] * 3
    assert len(calls) == rendered  # once, or again at every point for inputs above the limit
    for name, frozen in encoders.items():
        train, test = curve.rows[name]
        assert len(set(train) & set(tissue.indices("train"))) == len(train) == 60
        assert test.tolist() == tissue.indices("test").tolist()  # fewer than MAX_PATCHES
        labels = torch.from_numpy(tissue.labels)
        probe = fit_ridge_probe(frozen.represent(tissue, train), labels[train], 9)
        correct = probe.logits(frozen.represent(tissue, test)).argmax(1) == labels[test]
        accuracies = points.loc[points["branch"] == name, "accuracy"]
        assert accuracies.tolist() == [pytest.approx(correct.float().mean().item(), abs=1e-5)] * 3
    assert [row.tolist() for row in curve.rows["primary"]] == [
        row.tolist() for row in Curve(encoders, tissue, path, 3, 4).rows["primary"]
    ]


def test_points_after_the_resumed_step_are_measured_again(tissue: Store, tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    old = pd.DataFrame({"step": [0, 2, 4], "branch": "primary", "accuracy": [0.1, 0.2, 2.0]})
    old.to_csv(path, index=False)
    encoders = {"primary": random_encoder("test_resnet", "downsample:8", 32, 0, tmp_path)}
    assert recorded_points(Curve(encoders, tissue, path, 2, 4), 2, rank=1).equals(old)
    points = recorded_points(Curve(encoders, tissue, path, 2, 4), 2)
    assert points["step"].tolist() == [0, 2, 4]
    assert points["accuracy"].tolist()[:2] == [0.1, 0.2]
    assert points["accuracy"].max() <= 1
    untested = Store(tissue.path, tissue.meta, tissue.table.assign(split="train"), tissue.arrays)
    assert not Curve(encoders, untested, path, 2, 4).rows
