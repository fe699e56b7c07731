"""Objectives with side effects during training. Processes that train with them import no other
module of the tests."""

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch

from morefromless.objectives import Loss
from morefromless.objectives.vicreg import VICReg


class Scripted(VICReg):
    """VICReg with an action at its first step, named by `what`: log the process, fail, end the
    process, or wait for a file."""

    def __init__(self, what: str = "fine", file: Path | None = None) -> None:
        super().__init__()
        self.what, self.file, self.started = what, file, False

    def forward(self, embeddings: Any) -> Loss:
        if len(embeddings[0]) > 2 and not self.started:
            self.started = True
            getattr(self, self.what)()
        return super().forward(embeddings)

    def fine(self) -> None:
        pass

    def defect(self) -> None:
        self.tells()
        raise IndexError("index 7 is out of bounds\nfor an axis of 3")

    def memory(self) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nMore.")

    def full(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def killed(self) -> None:
        self.tells()
        os.kill(os.getpid(), signal.SIGKILL)

    def crashed(self) -> None:
        self.tells()
        os._exit(3)

    def tells(self) -> None:
        if self.file is None:
            return
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "-")
        with self.file.open("a") as file:
            mode, threads = (os.environ.get(n, "-") for n in ("MFL_PROGRESS", "OMP_NUM_THREADS"))
            file.write(f"{os.getpid()} {gpus} {mode} {threads}\n")

    def waits(self) -> None:
        assert self.file is not None
        self.tells()
        while not self.file.with_suffix(".go").exists():
            time.sleep(0.01)


class Preempted(VICReg):
    """VICReg that sends the signals of a pre-emption at its fifth step, once only: SIGTERM, then
    the signal that submitit waits for. The file `once` marks that they were sent."""

    def __init__(self, once: Path) -> None:
        super().__init__()
        self.once, self.step = once, 0

    def forward(self, embeddings: Any) -> Loss:
        self.step += len(embeddings[0]) > 2
        if self.step == 5 and not self.once.exists():
            self.once.touch()
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGUSR2)
        return super().forward(embeddings)
