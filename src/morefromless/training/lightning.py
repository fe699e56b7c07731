"""Adaptations of Lightning: training time, atomic checkpoints, signals, and its hints."""

import errno
import logging
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.io import TorchCheckpointIO

from morefromless import files


class Clock(Callback):
    """Seconds of training, including the time before the checkpoint that a run resumes from."""

    def __init__(self) -> None:
        self.earlier, self.began = 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.earlier + time.perf_counter() - self.began

    @property
    def state_key(self) -> str:
        return "_Clock"  # the key in checkpoints of earlier versions

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.earlier = float(state_dict["seconds"])


class AtomicCheckpoints(TorchCheckpointIO):
    """Write checkpoints atomically: to a file next to the last one, which then replaces it.

    Lightning writes to the system's temporary folder. If that is another file system, its last step
    is a copy, and a kill or a full disk could destroy the old checkpoint without a new one.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        del storage_options
        with files.replacing(Path(path)) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)


class SigtermHandler(Callback):
    """Restore the SIGTERM handler that Lightning replaces.

    A cluster sends SIGTERM before the signal that makes submitit requeue the job. Lightning would
    end the job at its next step, and would end a command with exit code 0, as after success.
    """

    def __init__(self) -> None:
        self.handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        del trainer, pl_module
        if self.handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handler)


@contextmanager
def raising_full_disk_errors(path: Path) -> Iterator[None]:
    """Raise `StorageError` for `path` if the block fails because the disk is full.

    PyTorch raises its own errors after the system's error, so all causes in the chain are checked.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
                with files.raising_storage_errors(path):
                    raise OSError(cause.errno, cause.strerror) from error
            cause = cause.__cause__ or cause.__context__
        raise


@contextmanager
def without_hints() -> Iterator[None]:
    """Silence Lightning within the block: its hints are for the author of a training loop, not for
    its user. Restores the previous settings, since the user may have another training loop."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
