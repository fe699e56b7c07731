"""Progress of one run: step, loss and its terms, learning rate, speed, remaining time."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl

from morefromless import progress
from morefromless.progress import MINUTE, Bar

EPOCH_LOG_SECONDS = 10.0
"""Minimum seconds between two log lines at ends of epochs; shorter epochs share a line."""


class Progress(pl.Callback):
    """A progress bar in a terminal, or a part of the bar of a study; lines in a log.

    `logged()` returns the values that were logged last.
    """

    def __init__(
        self, total: int, per_epoch: int, label: str, logged: Callable[[], Mapping[str, float]]
    ) -> None:
        self.total, self.per_epoch, self.label, self.logged = total, per_epoch, label, logged
        self.bar: Bar | None = None
        self.report: progress.Report | None = None
        self.last_written = self.began = 0.0
        self.first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        del pl_module
        self.last_written = self.began = time.monotonic()
        self.first_step = trainer.global_step
        if not trainer.is_global_zero or progress.mode() != "bar":
            return
        self.report = progress.report()
        if self.report is None:
            self.bar = Bar(total=self.total, initial=self.first_step, desc=self.label, unit="step")

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        del pl_module, batch, batch_idx, outputs
        step = trainer.global_step
        if self.bar is not None:
            self.bar.update(1)
        if not trainer.is_global_zero or progress.mode() == "quiet":
            return
        waited = time.monotonic() - self.last_written
        in_terminal = progress.mode() == "bar"
        epoch_ends = step % self.per_epoch == 0
        if step == self.total or waited >= (
            1.0 if in_terminal else EPOCH_LOG_SECONDS if epoch_ends else MINUTE
        ):
            self.last_written = time.monotonic()
            record = self.record(step)
            if not in_terminal:
                progress.write_record(record)
            elif self.report:
                self.report(self.label, step / self.total, f"loss {record.get('loss', 0):.4g}")
            elif self.bar is not None:
                self.bar.set_postfix_str(f"loss {record.get('loss', 0):.4g}", refresh=False)

    def record(self, step: int) -> dict[str, Any]:
        """Content of a log line; losses are those that were logged last."""
        speed = (step - self.first_step) / max(time.monotonic() - self.began, 1e-9)
        return {
            "task": self.label,
            "done": step,
            "total": self.total,
            "unit": "steps",
            "epoch": -(-step // self.per_epoch),
            **self.logged(),
            "steps_per_second": speed,
            "seconds_left": round((self.total - step) / speed) if speed else None,
        }

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        del trainer, pl_module, stage
        if self.bar is not None:
            self.bar.close()
            self.bar = None
