"""Temperature, selective prediction and outliers against known numbers, on held-out patches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from morefromless.cli import run
from morefromless.config import Probe, RunConfig
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation import calibration
from morefromless.evaluation.calibration import (
    NEIGHBOURS,
    best_temperature,
    calibrate,
    calibrated_name,
    neighbour_distance,
    read_calibrated,
)
from morefromless.evaluation.frozen import random_encoder
from morefromless.probes.ridge import fit_ridge_probe
from tests.conftest import TINY


def test_temperature_undoes_the_scaling_of_logits() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20000, 4)) * 2
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (chances.cumsum(1) > rng.random((20000, 1))).argmax(1)
    for factor in (0.5, 1.0, 3.0):
        temperature = best_temperature(torch.from_numpy(factor * logits), torch.from_numpy(labels))
        assert temperature == pytest.approx(factor, rel=0.05)


def test_distances_match_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1100, 8, generator=generator)
    reference = torch.nn.functional.normalize(torch.randn(50, 8, generator=generator), dim=1)
    unit = torch.nn.functional.normalize(features, dim=1)
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(reference.double())
    expected = nearest.kneighbors(unit.double())[0][:, -1]
    distances = neighbour_distance(3 * features, reference)
    np.testing.assert_allclose(distances, expected, atol=1e-4)


def test_hold_out_leaves_patches_of_every_class_for_fitting() -> None:
    labels = np.array([0] * 20 + [1] * 20 + [2])
    for groups in (None, np.array([*map(str, range(40)), "40"], object)):
        for seed in range(5):
            held_out = calibration._held_out_mask(labels, groups, seed)
            assert set(labels[~held_out]) == {0, 1, 2}
            assert 0.1 < held_out.mean() < 0.3
    for labels, groups in (
        (np.arange(3), None),
        (np.array([0, 0, 1, 1]), np.array(["a", "a", "b", "b"], object)),
    ):
        with pytest.raises(DataError, match="its class would have none left for fitting"):
            calibration._held_out_mask(labels, groups, 0)


def test_head_is_not_calibrated_on_its_training_patches(
    tissue: Store, supervision: RunConfig, tmp_path: Path
) -> None:
    frozen = random_encoder("test_resnet", "full", 32, 0, tmp_path)
    features = frozen.features(tissue, "train")
    labels = torch.from_numpy(tissue.labels[tissue.indices("train")])
    head = fit_ridge_probe(features, labels, 9, strength=1e-9)
    assert best_temperature(head.logits(features), labels) < 0.8
    frozen = replace(frozen, head=head, config=supervision)
    calibrated = calibrate(frozen, tissue, Probe(), "tissue")
    assert calibrated.probe.weight.equal(head.weight)
    assert calibrated.temperature == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("count", [1, 2, 8, 100])
def test_few_correct_patches_do_not_give_certainty(count: int) -> None:
    """Without smoothing, the temperature is near 0, and every patch has a probability of 1."""
    logits = torch.tensor([[0.3, 0.1, 0.1]] * count)
    temperature = best_temperature(logits, torch.zeros(count, dtype=torch.long))
    probability = (logits[0] / temperature).softmax(0)[0]
    assert probability == pytest.approx((count + 1) / (count + 3), abs=1e-3)


def test_probe_is_calibrated_on_held_out_training_patches(
    tissue: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = random_encoder("test_resnet", "full", 32, 0, tmp_path)
    fitted: list[torch.Tensor] = []
    fit = calibration.fit_linear_probe

    def recording_fit(features: torch.Tensor, *args: object, **options: object) -> object:
        fitted.append(features)
        return fit(features, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(calibration, "fit_linear_probe", recording_fit)
    probe = calibrate(frozen, tissue, Probe(probe_epochs=20), "tissue")
    train = tissue.indices("train")
    assert len(fitted[0]) + len(probe.distances) == len(train)
    features = frozen.features(tissue, "train")
    groups = tissue.groups("train")
    assert groups is not None
    in_fit = (features[:, None] == fitted[0][None]).all(2).any(1).numpy()
    assert not set(groups[in_fit]) & set(groups[~in_fit])  # whole patients are held out
    # Distances are to the patches of the fit; the distance of a patch to itself is 0.
    unit = torch.nn.functional.normalize(fitted[0], dim=1)
    torch.testing.assert_close(probe.reference.sum(0), unit.sum(0))
    held_out = features[~in_fit]
    percentiles = probe.outlier_percentile(held_out)
    assert percentiles.median() == pytest.approx(50, abs=5)
    assert probe.outlier_percentile(-held_out).min() == 100  # farther than all held-out patches
    torch.testing.assert_close(
        probe.confidence, probe.probabilities(held_out).max(1).values, rtol=1e-4, atol=1e-5
    )
    coverage, accuracy = probe.coverage_and_accuracy(0.0)
    labels = torch.from_numpy(tissue.labels[train][~in_fit])
    assert coverage == 1
    assert accuracy == pytest.approx(
        (probe.probabilities(held_out).argmax(1) == labels).float().mean().item()
    )
    threshold = float(probe.confidence.median())
    classified = probe.confidence.numpy() >= threshold
    assert classified.mean() == pytest.approx(0.5, abs=0.05)
    correct = (probe.probabilities(held_out).argmax(1) == labels).numpy()
    assert probe.coverage_and_accuracy(threshold) == pytest.approx(
        (classified.mean(), correct[classified].mean())
    )
    assert correct[classified].mean() != correct.mean()
    loaded = read_calibrated(tmp_path, frozen, "tissue")
    assert loaded is not None
    torch.testing.assert_close(loaded.probabilities(held_out), probe.probabilities(held_out))
    other_encoder = random_encoder("test_resnet", "full", 32, 1, tmp_path)
    assert (tmp_path / f"{calibrated_name(other_encoder, 'tissue')}.safetensors").is_file()
    with pytest.raises(ConfigError, match="is the probe of another encoder"):
        read_calibrated(tmp_path, other_encoder, "tissue")
    standardised = Probe(probe_epochs=20, standardise=True)
    weight = calibrate(frozen, tissue, standardised, "tissue").probe.weight
    assert not weight.equal(probe.probe.weight)
    path = tmp_path / f"{calibrated_name(frozen, 'tissue')}.safetensors"
    for count, options, seed in (
        (3, Probe(probe_epochs=20, labels=0.5), 0),
        (4, Probe(probe_epochs=20, labels=0.5), 1),
        (4, Probe(probe_epochs=20, labels=0.5), 1),  # loaded from the cache
    ):
        calibrate(frozen, tissue, options, "tissue", seed=seed)
        assert len(fitted) == count
        assert len(fitted[-1]) == pytest.approx(len(fitted[0]) / 2, rel=0.1)
    path.write_bytes(path.read_bytes().replace(b"ADI", b"ADJ"))  # the name of a class
    with pytest.raises(ConfigError, match="is damaged; remove it, and give --store"):
        read_calibrated(tmp_path, frozen, "tissue")
    path.unlink()
    key = {"weights": frozen.fingerprint, "classes": '["a", "b"]'}  # as of an earlier version
    frozen.cached(path.stem, key, lambda: {"weight": torch.ones(1)})
    with pytest.raises(ConfigError, match="is damaged; remove it, and give --store"):
        read_calibrated(tmp_path, frozen, "tissue")


def test_scores_need_no_calibration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    np.save("he.npy", images)
    # Of each class, one patient is in train and one in test.
    rows = [f"{k},{'AB'[k // 8]},P{k // 4},he.npy#{k}" for k in range(16)]
    Path("table.csv").write_text("\n".join(["id,label,group,he", *rows]))
    tiny = {**TINY, "width": 16, "batch": 4, "epochs": 1}
    options = [text for k, v in tiny.items() for text in (f"--{k}", str(v))]
    assert run(["ingest", "table.csv", "store"]) == 0
    assert run(["train", "store", "--out", "run", *options]) == 0
    capsys.readouterr()
    assert run(["probe", "run"]) == 0
    output = capsys.readouterr().out
    assert "primary: no probe is saved for mfl predict. No training patch can be held" in output
    assert "accuracy" in output
