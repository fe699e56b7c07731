"""One run in two processes, compared with the same run in one process."""

import subprocess
import sys
import tempfile
from functools import cached_property
from pathlib import Path

from benchmarks import Row, Stage
from benchmarks._training import synthetic_store
from morefromless.data.store import Store

FIRST_TIMED_STEP = 9
"""The first logged step that is timed."""


class Processes(Stage):
    """A step of `mfl train --devices 2` with gloo; the processes share one batch. Each process has
    one thread. On two cores, half the time is an efficiency of 1."""

    clock = "wall"

    def __init__(
        self, encoder: str = "resnet18", size: int = 32, batch: int = 128, width: int = 512
    ) -> None:
        self.encoder, self.size, self.batch, self.width = encoder, size, batch, width

    @property
    def title(self) -> str:
        return (
            f"A step in two processes, {self.encoder}, {self.size} px, a batch of {self.batch} in "
            f"all, width {self.width}"
        )

    @property
    def units(self) -> tuple[float, str]:
        return 1, "steps"

    def rows(self) -> list[Row]:
        return [
            Row("one process, one thread", lambda: lambda: self._step(1)),
            Row("two processes, one thread each", lambda: lambda: self._step(2)),
        ]

    @cached_property
    def store(self) -> Store:
        return synthetic_store(3 * self.batch, self.size)

    def _step(self, devices: int) -> float:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        options = {
            "encoder": self.encoder,
            "size": self.size,
            "batch": self.batch,
            "width": self.width,
            "epochs": 10,
            "device": "cpu",
            "devices": devices,
            "threads": 1,
            "probe-every": 0,
        }
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
            script = Path(folder) / "mfl.py"  # Lightning starts it again for the second process
            script.write_text("from morefromless.cli import main; main()\n")
            command = [sys.executable, str(script), "train", str(self.store.path)]
            subprocess.run([*command, "--out", str(out), *words], check=True, capture_output=True)
            [logs] = (out / "logs" / "tensorboard").glob("version_*")
            events = EventAccumulator(str(logs)).Reload().Scalars("loss")
        later = [event for event in events if event.step >= FIRST_TIMED_STEP]
        seconds: float = later[-1].wall_time - later[0].wall_time
        return seconds / int(later[-1].step - later[0].step)
