"""A progress bar over steps, with the loss and the time that is left."""

import os
import sys
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm

BAR_POSITION = "MFL_BAR_POSITION"
"""Environment variable: the line of this process's bar where several train side by side."""


class Progress(pl.Callback):
    """One bar a run, on standard error; a resumed run begins where it was."""

    def __init__(self, total: int, label: str) -> None:
        self.total, self.label = total, label
        self.bar: tqdm[Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        del pl_module
        if trainer.is_global_zero:
            self.bar = tqdm(
                total=self.total,
                initial=trainer.global_step,
                desc=self.label,
                unit="step",
                position=int(os.environ.get(BAR_POSITION, "0")),
                leave=False,
                mininterval=0.5 if sys.stderr.isatty() else 30,  # a log of a cluster's job
                dynamic_ncols=True,
            )

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        del pl_module, batch, batch_idx
        if self.bar is not None:
            self.bar.update(1)
            if trainer.global_step % 10 == 0:
                self.bar.set_postfix_str(f"loss {float(outputs['loss']):.4g}", refresh=False)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        del trainer, pl_module, stage
        if self.bar is not None:
            self.bar.close()
            self.bar = None
