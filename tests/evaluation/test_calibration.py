"""Temperature, selective prediction and outliers against known numbers, on held-out patches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

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


def test_the_temperature_brings_back_logits_that_were_multiplied() -> None:
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(20000, 4)) * 2
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (chances.cumsum(1) > draw.random((20000, 1))).argmax(1)
    for factor in (0.5, 1.0, 3.0):
        found = best_temperature(torch.from_numpy(factor * logits), torch.from_numpy(labels))
        assert found == pytest.approx(factor, rel=0.05)


def test_distances_are_scikit_learns() -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(1100, 8, generator=draw)
    reference = torch.nn.functional.normalize(torch.randn(50, 8, generator=draw), dim=1)
    unit = torch.nn.functional.normalize(features, dim=1)
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(reference.double())
    expected = nearest.kneighbors(unit.double())[0][:, -1]
    found = neighbour_distance(3 * features, reference)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_class_of_one_patch_is_learnt_and_one_patch_a_class_is_refused() -> None:
    labels = np.array([0] * 20 + [1] * 20 + [2])
    for groups in (None, np.array([*map(str, range(40)), "40"], object)):
        for seed in range(5):
            held = calibration._held_out_mask(labels, groups, seed)
            assert set(labels[~held]) == {0, 1, 2}
            assert 0.1 < held.mean() < 0.3
    for labels, groups in (
        (np.arange(3), None),
        (np.array([0, 0, 1, 1]), np.array(["a", "a", "b", "b"], object)),
    ):
        with pytest.raises(DataError, match="its class would have none left for fitting"):
            calibration._held_out_mask(labels, groups, 0)


def test_a_head_is_calibrated_as_it_is_and_not_made_surer_by_what_it_learnt_from(
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
def test_few_patches_that_are_all_right_make_no_probe_certain(count: int) -> None:
    """Without smoothing, the temperature is near 0, and every patch has a probability of 1."""
    logits = torch.tensor([[0.3, 0.1, 0.1]] * count)
    temperature = best_temperature(logits, torch.zeros(count, dtype=torch.long))
    probability = (logits[0] / temperature).softmax(0)[0]
    assert probability == pytest.approx((count + 1) / (count + 3), abs=1e-3)


def test_what_calibrates_is_neither_fitted_on_nor_a_test_patch(
    tissue: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = random_encoder("test_resnet", "full", 32, 0, tmp_path)
    fitted: list[torch.Tensor] = []
    fit = calibration.fit_linear_probe

    def spying(features: torch.Tensor, *rest: object, **options: object) -> object:
        fitted.append(features)
        return fit(features, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(calibration, "fit_linear_probe", spying)
    probe = calibrate(frozen, tissue, Probe(probe_epochs=20), "tissue")
    train = tissue.indices("train")
    assert len(fitted[0]) + len(probe.distances) == len(train)
    features = frozen.features(tissue, "train")
    groups = tissue.groups("train")
    assert groups is not None
    used = (features[:, None] == fitted[0][None]).all(2).any(1).numpy()
    assert not set(groups[used]) & set(groups[~used])  # whole patients are held out
    # Distances are to the patches of the fit; the distance of a patch to itself is 0.
    unit = torch.nn.functional.normalize(fitted[0], dim=1)
    torch.testing.assert_close(probe.reference.sum(0), unit.sum(0))
    held = features[~used]
    percentiles = probe.outlier_percentile(held)
    assert percentiles.median() == pytest.approx(50, abs=5)
    assert probe.outlier_percentile(-held).min() == 100  # farther than all held-out patches
    torch.testing.assert_close(
        probe.confidence, probe.probabilities(held).max(1).values, rtol=1e-4, atol=1e-5
    )
    coverage, accuracy = probe.coverage_and_accuracy(0.0)
    labels = torch.from_numpy(tissue.labels[train][~used])
    assert coverage == 1
    assert accuracy == pytest.approx(
        (probe.probabilities(held).argmax(1) == labels).float().mean().item()
    )
    least = float(probe.confidence.median())
    answered = probe.confidence.numpy() >= least
    assert answered.mean() == pytest.approx(0.5, abs=0.05)
    right = (probe.probabilities(held).argmax(1) == labels).numpy()
    assert probe.coverage_and_accuracy(least) == pytest.approx(
        (answered.mean(), right[answered].mean())
    )
    assert right[answered].mean() != right.mean()
    again = read_calibrated(tmp_path, frozen, "tissue")
    assert again is not None
    torch.testing.assert_close(again.probabilities(held), probe.probabilities(held))
    other = random_encoder("test_resnet", "full", 32, 1, tmp_path)
    assert (tmp_path / f"{calibrated_name(other, 'tissue')}.safetensors").is_file()
    with pytest.raises(ConfigError, match="is the probe of another encoder"):
        read_calibrated(tmp_path, other, "tissue")
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
