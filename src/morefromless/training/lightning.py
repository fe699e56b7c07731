"""What Lightning does otherwise than a run needs: a clock, checkpoints, signals, hints."""

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
    """Seconds of training, including those before the checkpoint from which a run resumed."""

    def __init__(self) -> None:
        self.earlier, self.began = 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.earlier + time.perf_counter() - self.began

    @property
    def state_key(self) -> str:
        return "_Clock"  # its name in the checkpoints of runs that earlier versions began

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.earlier = float(state_dict["seconds"])


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that are written whole or not at all: beside the last one, then in its place.

    Lightning writes to the system's folder for temporary files. Where that is another file system,
    its last step is a copy, and a kill or a full disk would leave neither checkpoint.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        del storage_options
        with files.replacing(Path(path)) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)


class SigtermHandler(Callback):
    """Restores the handler of SIGTERM that Lightning replaces.

    A cluster sends SIGTERM ahead of the signal upon which submitit queues the job again; Lightning
    would end the job at its next step. It would end a command with exit code 0, as if it were done.
    """

    def __init__(self) -> None:
        self.handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        del trainer, pl_module
        if self.handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handler)


@contextmanager
def explaining_full_disk(path: Path) -> Iterator[None]:
    """Raise `StorageError` for `path` where the block fails on a full disk.

    PyTorch raises errors of its own after the system's, so the whole chain of causes is searched.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
                with files.explaining(path):
                    raise OSError(cause.errno, cause.strerror) from error
            cause = cause.__cause__ or cause.__context__
        raise


@contextmanager
def without_hints() -> Iterator[None]:
    """Within the block, Lightning is silent: its hints address the author of a training loop, not
    its user, who may be the author of another one."""
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
