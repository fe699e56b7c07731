"""Headroom: its ridge against the closed form, and the two synthetic controls."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from morefromless.analysis.headroom import (
    FOLDS,
    PENALTIES,
    handmade,
    measure_headroom,
    predict,
    principal_axes,
)
from morefromless.config import HeadroomConfig
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.ingest import ingest
from morefromless.modalities.full import Full
from morefromless.report.headroom import report, write
from morefromless.sources.synthetic import Synthetic

VIEWS = {"primary": "full:primary", "privileged": "full:privileged"}


def control(folder: Path, name: str) -> Store:
    source = Synthetic(patches=300, patients=20, size=32, control=name)  # type: ignore[arg-type]
    ingest(source, folder / name, progress=False, workers=1)
    return Store.open(folder / name)


def test_predictions_are_those_of_the_closed_form() -> None:
    generator = torch.Generator().manual_seed(0)
    train, test, target = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((40, 6), (5, 6), (40, 3))
    )
    train, target = train - train.mean(0), target - target.mean(0)
    out_of_fold, on_test = predict(train, target, test)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    fold = (torch.arange(40) % FOLDS)[order]

    def ridge(rows: torch.Tensor, asked: torch.Tensor, penalty: float, k: int) -> torch.Tensor:
        x, y = train[rows], target[rows, k]
        scale = penalty * x.square().sum()
        return asked @ torch.linalg.solve(x.T @ x + scale * torch.eye(6), x.T @ y)

    for k in range(3):
        tried = []
        for penalty in PENALTIES:
            held_out = torch.empty(40, dtype=torch.float64)
            for number in range(FOLDS):
                held_out[fold == number] = ridge(fold != number, train[fold == number], penalty, k)
            tried.append(held_out)
        errors = [float((held_out - target[:, k]).square().sum()) for held_out in tried]
        best = errors.index(min(errors))
        assert torch.allclose(out_of_fold[:, k], tried[best])
        everything = torch.ones(40, dtype=torch.bool)
        assert torch.allclose(on_test[:, k], ridge(everything, test, PENALTIES[best], k))
    constant, _ = predict(torch.zeros_like(train), target, test)
    assert torch.equal(constant, torch.zeros_like(target))  # what is centred has this mean
    _, shares = principal_axes(train, 6)
    assert float(shares.sum()) == pytest.approx(1)


def doubled(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Linear between the centres of old pixels, along the first axis, then the second."""

    def line(old: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.interp(np.arange(2 * len(old)) / 2 - 0.25, np.arange(len(old)), old)

    return np.apply_along_axis(line, 1, np.apply_along_axis(line, 0, values))


def test_textures_are_what_halving_the_resolution_removes(tissue: Store) -> None:
    found = handmade(tissue, Full())[:3, 512:]
    for patch, image in zip(found, tissue.array("he")[:3] / 255, strict=True):
        for octave in patch.reshape(-1, 3):
            side = len(image)
            coarse = image.reshape(side // 2, 2, side // 2, 2, 3).mean((1, 3))
            assert octave == pytest.approx((image - doubled(coarse)).std((0, 1), ddof=1), rel=1e-4)
            image = coarse
    assert image.shape == (2, 2, 3)


def test_the_controls_have_headroom_and_none(tmp_path: Path) -> None:
    options = {**VIEWS, "components": 20, "out": tmp_path / "out"}
    results = {
        name: measure_headroom(HeadroomConfig(store=control(tmp_path, name).path, **options))
        for name in ("positive", "negative")
    }
    assert results["positive"].headroom.low > 0.05
    assert results["negative"].headroom.low < 0.02
    # A second photograph is all but told by the first; a signal under a nuisance is not.
    assert results["negative"].predicted_share > results["positive"].predicted_share + 0.2
    report_path, numbers = write(results["positive"])
    assert "forecast" in report_path.read_text()
    assert json.loads(numbers.read_text())["headroom"]["estimate"] > 0.05
    assert len(report(results["negative"]).sections) == 2


def test_what_cannot_be_asked_is_refused(tissue: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    options = HeadroomConfig(store=tissue.path, primary="downsample:4", components=1000)
    with pytest.raises(ConfigError, match="more than the 135 training patches"):
        measure_headroom(options)
    random = HeadroomConfig(store=tissue.path, primary="downsample:4", encoder="test_resnet")
    with pytest.raises(ConfigError, match="random weights"):
        measure_headroom(random)
    table = tissue.table.assign(split="train")
    untested = Store(tissue.path, tissue.meta, table, tissue.arrays, tissue.present)
    monkeypatch.setattr(Store, "open", lambda _: untested)
    with pytest.raises(ConfigError, match="no labelled test patches"):
        measure_headroom(HeadroomConfig(store=tissue.path, components=4))
