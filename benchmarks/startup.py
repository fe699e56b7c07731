"""Time until a command shows its first output, and until it starts its work."""

import os
import subprocess
import sys
import tempfile
import time
from functools import cached_property
from typing import Any

import pytorch_lightning as pl

from benchmarks import Call, Row, Stage
from benchmarks._training import synthetic_store, train_with
from morefromless.data.store import Store

MFL = [sys.executable, "-c", "from morefromless.cli import main; main()"]


class Startup(Stage):
    """Commands, each in a new process, and a run in a process that has already trained one."""

    clock = "wall"

    @property
    def title(self) -> str:
        return "Starts of commands"

    @property
    def units(self) -> tuple[float, str]:
        return 1, "starts"

    @cached_property
    def store(self) -> Store:
        return synthetic_store(180, 32)

    def rows(self) -> list[Row]:
        return [
            Row("mfl compare, until its runs begin", lambda: self._compare(b"runs:")),
            Row("mfl compare, its first sign", lambda: self._compare(b"check"), compared=False),
            Row("import torch", lambda: _run_command([sys.executable, "-c", "import torch"])),
            Row("a run, until its first step", lambda: self._next_run, compared=False),
            Row("mfl --help", lambda: _run_command([*MFL, "--help"]), compared=False),
        ]

    def _compare(self, sign: bytes) -> Call:
        """Start `mfl compare` and measure the time until `sign` appears on standard error."""
        options = ["--size", "32", "--encoder", "test_resnet", "--batch", "32", "--jobs", "1"]
        command = [*MFL, "compare", str(self.store.path), *options]
        environment = {**os.environ, "MFL_PROGRESS": "bar"}

        def call() -> float:
            out = tempfile.mkdtemp()
            start = time.perf_counter()
            process = subprocess.Popen(
                [*command, "--out", out],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment,
            )
            assert process.stderr is not None
            shown = b""
            while sign not in shown and (byte := process.stderr.read(1)):
                shown += byte
            seconds = time.perf_counter() - start
            process.kill()
            process.wait()
            return seconds

        return call

    def _next_run(self) -> float:
        """Time to the first step when all modules are imported, as in a worker's later runs."""
        first = _FirstStep()
        options = {"encoder": "test_resnet", "size": 32, "batch": 64, "width": 256, "epochs": 1}
        start = time.perf_counter()
        train_with(first, self.store, device="cpu", **options)
        return first.time - start


class _FirstStep(pl.Callback):
    time = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        self.time = self.time or time.perf_counter()


def _run_command(command: list[str]) -> Call:
    return lambda: subprocess.run(command, capture_output=True, check=True)
