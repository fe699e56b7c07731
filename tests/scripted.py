"""Objectives that do something else as well. Processes that train with them import nothing of the
tests beside this."""

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
    """VICReg that does something else at its first step: writes down where it is trained, ends as
    it is told, or waits for a file."""

    def __init__(self, what: str = "fine", file: Path | None = None) -> None:
        super().__init__()
        self.what, self.file, self.begun = what, file, False

    def forward(self, embeddings: Any) -> Loss:
        if len(embeddings[0]) > 2 and not self.begun:
            self.begun = True
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
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "-")
        with self.file.open("a") as file:
            mode, threads = (os.environ.get(n, "-") for n in ("MFL_PROGRESS", "OMP_NUM_THREADS"))
            file.write(f"{os.getpid()} {seen} {mode} {threads}\n")

    def waits(self) -> None:
        assert self.file is not None
        self.tells()
        while not self.file.with_suffix(".go").exists():
            time.sleep(0.01)


class Preempted(VICReg):
    """VICReg during which the process gets, at its fifth step and once only, what a cluster sends
    ahead of a pre-emption: SIGTERM, and then the signal that submitit waits for."""

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
