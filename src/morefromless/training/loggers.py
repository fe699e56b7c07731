"""Where losses and rates are logged: files in the run's folder, and what `--log` adds."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytorch_lightning.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)

from morefromless.config import RunConfig
from morefromless.config.parts import Tracker
from morefromless.errors import TrainingError, first_line
from morefromless.runs import Run

PROJECT = "morefromless"
"""Of Weights & Biases and of MLflow, where the environment names no other."""
SERVER = "MLFLOW_TRACKING_URI"
QUIET = {
    "WANDB_SILENT": "true",  # its lines would stand between those of --json
    "WANDB_ERROR_REPORTING": "false",  # to its developers, in offline mode too
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # else it wants a database
}
"""Environment variables that have these values where they have none."""


@contextmanager
def loggers(run: Run, config: RunConfig) -> Iterator[list[Logger]]:
    """Lightning's loggers of a run within the block: CSV, TensorBoard, and each of `--log`.

    Weights & Biases sends to its server unless WANDB_MODE is offline; then, and of MLflow unless
    MLFLOW_TRACKING_URI names a server, everything is a file below the run's `logs`. Trackers are
    told the options that determine the run. A resumed run is a further one under the same name.

    Raises `TrainingError` where a tracker cannot be reached.
    """
    logs = run.path / "logs"
    files = [
        CSVLogger(logs, name="csv"),  # a resumed run adds a version, so nothing is lost
        TensorBoardLogger(str(logs), name="tensorboard"),
    ]
    trackers: list[Logger] = []
    before = {name: os.environ.get(name) for name in (SERVER, *QUIET)}
    try:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        for name in config.machine.log:
            with _reaching(name):
                trackers.append(TRACKERS[name](run))
                trackers[-1].log_hyperparams(config.identity())
        yield [*files, *trackers]
    finally:
        for tracker in trackers:
            if isinstance(tracker, WandbLogger):  # else the next run here would be part of this one
                tracker.experiment.finish()
        for name, earlier in before.items():
            if earlier is None:
                os.environ.pop(name, None)  # MLflow notes the place of this run in one of them


@contextmanager
def _reaching(name: Tracker) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever its client raises
        raise TrainingError(
            f"--log {name} does not work ({first_line(error)}); check its settings, or leave it "
            "out."
        ) from error


def _wandb(run: Run) -> Logger:
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    return WandbLogger(name=run.path.name, project=project, save_dir=run.path / "logs")


def _mlflow(run: Run) -> Logger:
    return MLFlowLogger(
        experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT),
        run_name=run.path.name,
        tracking_uri=os.environ.get(SERVER),
        save_dir=str(run.path / "logs" / "mlflow"),
    )


TRACKERS: dict[Tracker, Any] = {"wandb": _wandb, "mlflow": _mlflow}
