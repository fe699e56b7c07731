"""The trackers of `--log`: Weights & Biases and MLflow, offline or not installed."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning.loggers import Logger

from morefromless import cli
from morefromless.config import RunConfig
from morefromless.data.store import Store
from morefromless.runs import Run
from morefromless.training import checks, loggers
from morefromless.training.train import train
from tests.conftest import changed


class Recorder(Logger):
    """Records what a tracker receives."""

    name, version = "recorder", 0

    def __init__(self) -> None:
        super().__init__()
        self.options: dict[str, Any] = {}
        self.metrics: dict[int, Mapping[str, float]] = {}

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        self.options |= params

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.metrics[step or 0] = metrics


def test_tracker_gets_options_and_losses_and_keeps_the_identity(
    pretraining: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(checks, "find_spec", lambda _: True)
    monkeypatch.setitem(loggers.TRACKERS, "mlflow", lambda _: recorder)
    config = changed(pretraining, log=["mlflow"], epochs=3, size=16, warmup=0.5)
    assert config.identity() == changed(config, log=[]).identity()
    run = train(config)
    assert recorder.options == config.identity()
    assert sorted(recorder.metrics) == [0, 9, 11]  # the first, every tenth and the last step
    assert {"loss", "lr", "term/variance"} <= set(recorder.metrics[9])
    cosines = [1 + math.cos(math.pi * (step - 2) / (12 - 2)) for step in (9, 11)]  # 2 warm-up steps
    rates = [metrics["lr"] for _, metrics in sorted(recorder.metrics.items())]
    assert rates == pytest.approx([0, *(config.train.lr / 2 * cosine for cosine in cosines)])
    [csv_path] = (run.path / "logs" / "csv").rglob("metrics.csv")
    assert f"{recorder.metrics[9]['loss']:.6g}"[:5] in csv_path.read_text()


def test_tracker_that_is_not_installed_is_an_error(
    tissue: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda _: None)
    for name in ("wandb", "mlflow"):
        options = ["--out", str(tmp_path / "run"), "--size", "32", "--log", name]
        assert cli.run(["train", str(tissue.path), *options]) == 2
        sentence = f"--log {name} needs the extra {name}; install it: pip install 'morefromless"
        assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_unreachable_tracker_is_an_error(
    pretraining: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_unreachable(_: Run) -> Logger:
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setitem(loggers.TRACKERS, "wandb", raise_unreachable)
    config = changed(pretraining, log=["wandb"])
    with (
        pytest.raises(loggers.TrainingError, match=r"--log wandb .*no route to host\); check"),
        loggers.loggers(Run(config.out), config),
    ):
        pass


def test_offline_trackers_write_to_the_run_folder(
    pretraining: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("wandb", "mlflow"):
        pytest.importorskip(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    config = changed(pretraining, log=["wandb", "mlflow"])
    for name in ("a", "b"):  # two runs in one process are two runs in each tracker
        folder = tmp_path / name
        with loggers.loggers(Run(folder), config) as active_loggers:
            for logger in active_loggers:
                logger.log_metrics({"loss": 1.5}, step=9)
        [stored] = folder.glob("logs/mlflow/*/*/metrics/loss")
        assert stored.read_text().split()[1:] == ["1.5", "9"]
        assert len(list(folder.glob("logs/wandb/offline-run-*/*.wandb"))) == 1
        assert loggers.MLFLOW_URI_VARIABLE not in os.environ
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}
