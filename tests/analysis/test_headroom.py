"""Headroom: its ridge against the closed form, and the two synthetic controls."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from morefromless.analysis import headroom
from morefromless.analysis.headroom import (
    FOLDS,
    PENALTIES,
    _standardise,
    handcrafted,
    measure_headroom,
    predict_out_of_fold,
    principal_axes,
)
from morefromless.config import HeadroomConfig
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.ingest import ingest
from morefromless.pairs import build_modality
from morefromless.probes.ridge import fit_ridge_probe
from morefromless.report.headroom import report, write
from morefromless.sources.synthetic import Synthetic

VIEWS = {"primary": "full:primary", "privileged": "full:privileged"}


def control(folder: Path, name: str) -> Store:
    source = Synthetic(patches=300, patients=20, size=32, control=name)  # type: ignore[arg-type]
    ingest(source, folder / name, progress=False, workers=1)
    return Store.open(folder / name)


PATIENTS = np.repeat(np.array(["c", "b", "g", "a", "d", "f", "h", "e"], dtype=object), 5)


@pytest.mark.parametrize(
    ("groups", "units"),
    [
        (None, np.arange(40)),
        (PATIENTS[:1].repeat(40), np.arange(40)),  # with one patient, folds are by patch
        (PATIENTS, np.array([ord(patient) - ord("a") for patient in PATIENTS])),
    ],
    ids=["patches", "one patient", "patients"],
)
def test_predictions_equal_those_of_the_closed_form(
    groups: npt.NDArray[np.object_] | None, units: npt.NDArray[np.int64]
) -> None:
    generator = torch.Generator().manual_seed(0)
    train, test, target = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((40, 6), (5, 6), (40, 3))
    )
    train, target = train - train.mean(0), target - target.mean(0)
    out_of_fold, on_test = predict_out_of_fold(train, target, test, groups)
    order = torch.randperm(units.max() + 1, generator=torch.Generator().manual_seed(0))
    fold = torch.tensor([int(order[unit]) % FOLDS for unit in units])

    def ridge(rows: torch.Tensor, queries: torch.Tensor, penalty: float, k: int) -> torch.Tensor:
        x, y = train[rows], target[rows, k]
        scale = penalty * x.square().sum()
        return queries @ torch.linalg.solve(x.T @ x + scale * torch.eye(6), x.T @ y)

    for k in range(3):
        predictions = []
        for penalty in PENALTIES:
            held_out = torch.empty(40, dtype=torch.float64)
            for number in range(FOLDS):
                held_out[fold == number] = ridge(fold != number, train[fold == number], penalty, k)
            predictions.append(held_out)
        errors = [float((held_out - target[:, k]).square().sum()) for held_out in predictions]
        best = errors.index(min(errors))
        assert torch.allclose(out_of_fold[:, k], predictions[best])
        all_rows = torch.ones(40, dtype=torch.bool)
        assert torch.allclose(on_test[:, k], ridge(all_rows, test, PENALTIES[best], k))
    constant, _ = predict_out_of_fold(torch.zeros_like(train), target, test)
    assert torch.equal(constant, torch.zeros_like(target))  # the mean of centred data
    axes, shares = principal_axes(train, 3)
    variances = (train @ axes).square().sum(0)
    assert torch.allclose(shares, variances / train.square().sum())
    assert shares.tolist() == sorted(shares.tolist(), reverse=True)


def test_features_are_standardised_by_the_training_patches() -> None:
    generator = torch.Generator().manual_seed(0)
    train, test = torch.randn(9, 3, generator=generator), torch.randn(4, 3, generator=generator) + 1
    train[:, 2] = 0.1  # a constant feature
    for part, standardised in zip((train, test), _standardise(train, test), strict=True):
        expected = (part - train.mean(0)) / train.std(0, correction=0)
        assert torch.allclose(standardised[:, :2], expected[:, :2].double(), atol=1e-5)
        assert not standardised[:, 2].any()


def double_size(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Linear interpolation between pixel centres, along the first axis, then the second."""

    def interpolate(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.interp(np.arange(2 * len(samples)) / 2 - 0.25, np.arange(len(samples)), samples)

    return np.apply_along_axis(interpolate, 1, np.apply_along_axis(interpolate, 0, values))


def test_textures_are_what_halving_the_resolution_removes(tissue: Store) -> None:
    features = handcrafted(tissue, build_modality("full"))
    assert features.shape == (180, 512 + 3 * 4)
    assert np.square(features[5, :512]).sum() == pytest.approx(1)
    for patch, image in zip(features[:3, 512:], tissue.array("he")[:3] / 255, strict=True):
        for octave in patch.reshape(-1, 3):
            side = len(image)
            coarse = image.reshape(side // 2, 2, side // 2, 2, 3).mean((1, 3))
            assert octave == pytest.approx(
                (image - double_size(coarse)).std((0, 1), ddof=1), rel=1e-4
            )
            image = coarse
    assert image.shape == (2, 2, 3)


def test_only_the_positive_control_has_headroom(tmp_path: Path) -> None:
    options = {**VIEWS, "components": 20, "out": tmp_path / "out"}
    results = {
        name: measure_headroom(HeadroomConfig(store=control(tmp_path, name).path, **options))
        for name in ("positive", "negative")
    }
    for result in results.values():
        assert result.headroom.estimate == pytest.approx(result.dense - result.sparse)
        assert result.forecast.estimate == pytest.approx(result.predicted - result.sparse)
        assert result.headroom.unit == result.forecast.unit == "group"
        variances, shares = zip(
            *((c.variance, c.predicted) for c in result.components), strict=True
        )
        assert result.predicted_share == pytest.approx(np.average(shares, weights=variances))
        assert min(shares) >= 0
    # A probe of predicted features is fitted to out-of-fold predictions.
    config = results["positive"].config
    store = Store.open(config.store)
    sparse, dense = (_standardise(*headroom._features(v, store, config)) for v in VIEWS.values())
    target = dense[0] @ principal_axes(dense[0], 20)[0]
    predictions = predict_out_of_fold(sparse[0], target, sparse[1], store.groups("train"))
    labels, test = (store.labels[store.indices(split)] for split in ("train", "test"))
    probe = fit_ridge_probe(predictions[0], torch.from_numpy(labels), len(store.classes))
    correct = probe.logits(predictions[1]).argmax(1).numpy() == test
    assert results["positive"].predicted == pytest.approx(correct.mean())
    assert results["positive"].headroom.low > 0.05
    assert results["negative"].headroom.low < 0.02
    # The first photograph predicts the second almost fully, but not a signal under a nuisance.
    assert results["negative"].predicted_share > results["positive"].predicted_share + 0.2
    report_path, numbers = write(results["positive"])
    assert "forecast" in report_path.read_text()
    assert json.loads(numbers.read_text())["headroom"]["estimate"] > 0.05
    table, parts = report(results["negative"]).sections
    explained = sum(component.variance for component in results["negative"].components)
    assert explained < 0.99  # so their share differs from the share of the total variance
    number = len(results["negative"].components)
    assert (
        f"; all {number} explain {100 * explained:.1f} % of the variance of the dense features"
        in parts.title
    )
    assert table.rows[-1][0] == "predicted share of the components' variance"


def test_there_are_at_most_as_many_components_as_the_data_allow(
    tissue: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = HeadroomConfig(store=tissue.path, primary="downsample:4", components=1000)
    assert len(measure_headroom(options).components) == 134  # of 135 labelled training patches
    features = np.random.default_rng(0).random((180, 3), dtype=np.float32)
    monkeypatch.setattr(headroom, "handcrafted", lambda *_: features)
    assert len(measure_headroom(options).components) == 3


def test_invalid_options_are_refused(tissue: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    random = HeadroomConfig(store=tissue.path, primary="downsample:4", encoder="test_resnet")
    with pytest.raises(ConfigError, match="random weights"):
        measure_headroom(random)
    table = tissue.table.assign(split="train")
    untested = Store(tissue.path, tissue.meta, table, tissue.arrays, tissue.present)
    monkeypatch.setattr(Store, "open", lambda _: untested)
    with pytest.raises(ConfigError, match="no labelled test patches"):
        measure_headroom(HeadroomConfig(store=tissue.path, components=4))
