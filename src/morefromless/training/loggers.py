"""Loggers of losses and learning rates: files in the run's folder, and the trackers of `--log`."""

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

DEFAULT_PROJECT = "morefromless"
"""Default project of Weights & Biases and experiment of MLflow; environment variables override."""
MLFLOW_URI_VARIABLE = "MLFLOW_TRACKING_URI"
QUIET_ENVIRONMENT = {
    "WANDB_SILENT": "true",  # its lines would mix with those of --json
    "WANDB_ERROR_REPORTING": "false",  # reports to its developers, also in offline mode
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # otherwise it requires a database
}
"""Environment variables that are set to these values if they are unset."""


@contextmanager
def loggers(run: Run, config: RunConfig) -> Iterator[list[Logger]]:
    """Lightning's loggers of a run within the block: CSV, TensorBoard, and the trackers of `--log`.

    Weights & Biases sends data to its server unless WANDB_MODE is offline. MLflow sends data only
    if MLFLOW_TRACKING_URI names a server. Otherwise, data are files in the run's `logs` folder.
    Trackers receive the options that determine the run. A resumed run appears as another run with
    the same name.

    Raises `TrainingError` if a tracker does not work.
    """
    logs = run.path / "logs"
    files = [
        CSVLogger(logs, name="csv"),  # a resumed run adds a version, so no log is lost
        TensorBoardLogger(str(logs), name="tensorboard"),
    ]
    trackers: list[Logger] = []
    before = {name: os.environ.get(name) for name in (MLFLOW_URI_VARIABLE, *QUIET_ENVIRONMENT)}
    try:
        for name, value in QUIET_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        for name in config.machine.log:
            with _raising_tracker_errors(name):
                trackers.append(TRACKERS[name](run))
                trackers[-1].log_hyperparams(config.identity())
        yield [*files, *trackers]
    finally:
        for tracker in trackers:
            if isinstance(tracker, WandbLogger):  # otherwise the next run would join this one
                tracker.experiment.finish()
        for name, earlier in before.items():
            if earlier is None:
                os.environ.pop(name, None)  # MLflow sets one to the place of this run


@contextmanager
def _raising_tracker_errors(name: Tracker) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # its client raises arbitrary errors
        raise TrainingError(
            f"--log {name} does not work ({first_line(error)}); check its settings or remove the "
            "option."
        ) from error


def _wandb(run: Run) -> Logger:
    project = os.environ.get("WANDB_PROJECT", DEFAULT_PROJECT)
    return WandbLogger(name=run.path.name, project=project, save_dir=run.path / "logs")


def _mlflow(run: Run) -> Logger:
    return MLFlowLogger(
        experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", DEFAULT_PROJECT),
        run_name=run.path.name,
        tracking_uri=os.environ.get(MLFLOW_URI_VARIABLE),
        save_dir=str(run.path / "logs" / "mlflow"),
    )


TRACKERS: dict[Tracker, Any] = {"wandb": _wandb, "mlflow": _mlflow}
