"""How long a command is silent: from its start to its first sign of progress."""

import os
import subprocess
import sys
import tempfile
import time
from functools import cached_property
from pathlib import Path

from benchmarks import Call, Row, Stage
from morefromless.ingest import ingest
from morefromless.sources.synthetic import Synthetic

MFL = [sys.executable, "-c", "from morefromless.cli import main; main()"]


class Startup(Stage):
    """Whole processes, each begun anew."""

    clock = "wall"

    @property
    def title(self) -> str:
        return "From the start of a process to its first sign of progress"

    @property
    def units(self) -> tuple[float, str]:
        return 1, "starts"

    @cached_property
    def store(self) -> Path:
        path = Path(tempfile.mkdtemp()) / "store"
        ingest(Synthetic(patches=180, patients=12, size=32), path, progress=False, workers=1)
        return path

    def rows(self) -> list[Row]:
        return [
            Row("mfl compare, its bar", self._compare),
            Row("import torch", lambda: _finished([sys.executable, "-c", "import torch"])),
            Row("mfl --help", lambda: _finished([*MFL, "--help"])),
        ]

    def _compare(self) -> Call:
        options = ["--size", "32", "--encoder", "test_resnet", "--batch", "32", "--jobs", "1"]
        command = [*MFL, "compare", str(self.store), *options]
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
            process.stderr.read(1)
            seconds = time.perf_counter() - start
            process.kill()
            process.wait()
            return seconds

        return call


def _finished(command: list[str]) -> Call:
    return lambda: subprocess.run(command, capture_output=True, check=True)
