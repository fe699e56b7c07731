"""Repeated measurement of a stage's rows, in interleaved order."""

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from benchmarks import Call, Row, Stage
from morefromless.devices import threads
from morefromless.errors import ConfigError
from morefromless.report.section import Section

MAX_RATIO_SPREAD = 0.1
"""No ratio is reported if its interquartile range, relative to its median, is larger."""
MIN_CALL_SECONDS = 0.1
"""Seconds. A shorter call is repeated within a measurement."""
ROUNDS = 7
MAX_TABLE_SECONDS = 45.0
"""Seconds. Without `--rounds`, a table that took longer has no more rounds after the first
`MIN_ROUNDS`."""
MIN_ROUNDS = 3
CLOCKS = {"processor": time.process_time, "wall": time.perf_counter}


@dataclass
class Measurement:
    """Seconds of one call of a row, per round, or the reason why there are none."""

    row: Row
    seconds: list[float] = field(default_factory=list)
    absent: str = ""
    mebibytes: float | None = None
    figure: str = ""

    def ratio(self, reference: "Measurement") -> str:
        """Time relative to the reference in the same round: median and spread.

        >>> row = Row("", prepare=lambda: lambda: None)
        >>> Measurement(row, [2.0, 2.04, 2.0]).ratio(Measurement(row, [1.0, 1.0, 1.0]))
        '2.00 ± 1 %'
        """
        pairs = zip(self.seconds, reference.seconds, strict=True)
        ratios = [own / other for own, other in pairs]
        if len(ratios) < MIN_ROUNDS:
            return f"not claimed of fewer than {MIN_ROUNDS} rounds"
        middle = statistics.median(ratios)
        low, _, high = statistics.quantiles(ratios, n=4)
        spread = (high - low) / middle
        if spread > MAX_RATIO_SPREAD:
            return f"not claimed, ± {spread / 2:.0%}".replace("%", " %")
        return f"{middle:.2f} ± {100 * spread / 2:.0f} %"


def measure(stage: Stage, rounds: int | None = None) -> list[Measurement]:
    """Measure every row once per round, in alternating order, after a warm-up call of each row."""
    with threads(stage.threads):
        return _measure_rows(stage, rounds)


def _measure_rows(stage: Stage, rounds: int | None) -> list[Measurement]:
    measured = [Measurement(row) for row in stage.rows()]
    calls: dict[str, tuple[Call, int]] = {}
    for measurement in measured:
        try:
            call = measurement.row.prepare()
        except ImportError:
            measurement.absent = f"not installed: pip install {measurement.row.package}"
            continue
        except ConfigError as error:
            measurement.absent = str(error)
            continue
        seconds = _seconds(call, 1, stage)
        if seconds < 1:
            seconds = _seconds(call, 1, stage)
        calls[measurement.row.name] = (
            call,
            max(1, round(MIN_CALL_SECONDS / (seconds or MIN_CALL_SECONDS))),
        )
    began = time.perf_counter()
    for number in range(rounds or ROUNDS):
        if not rounds and number >= MIN_ROUNDS and time.perf_counter() - began > MAX_TABLE_SECONDS:
            break
        for measurement in measured[:: 1 if number % 2 else -1]:
            if measurement.row.name in calls:
                measurement.seconds.append(_seconds(*calls[measurement.row.name], stage))
    for measurement in measured:
        if measurement.row.figure and not measurement.absent:
            measurement.figure = measurement.row.figure()
    return measured


def _seconds(call: Call, times: int, stage: Stage) -> float:
    """Seconds per call, the mean of `times` calls."""
    clock = CLOCKS[stage.clock]
    start = clock()
    results = [call() for _ in range(times)]
    elapsed = clock() - start
    own_seconds = [seconds for seconds in results if isinstance(seconds, float)]
    return (sum(own_seconds) if own_seconds else elapsed) / times


def peak(stage: Stage, name: str) -> float:
    """MiB by which one call of a row raises this process's peak memory."""
    with threads(stage.threads):
        call = next(row for row in stage.rows() if row.name == name).prepare()
        # Not getrusage: a new process starts with the peak of its parent.
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak to the current use
        before = _mebibytes("VmRSS")
        call()
    return _mebibytes("VmHWM") - before


def _mebibytes(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def measure_memory(spec: str, measured: Sequence[Measurement]) -> None:
    """Measure `peak` of every row, each in its own process."""
    for measurement in measured:
        if not measurement.absent:
            command = [sys.executable, "-m", "benchmarks", spec, "--peak", measurement.row.name]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            measurement.mebibytes = json.loads(run.stdout.splitlines()[-1])


def section(stage: Stage, measured: Sequence[Measurement]) -> Section:
    """Build the table of a stage."""
    count, unit = stage.units
    header = ["", "ms", f"{unit}/s", "time to the first's"]
    header += ["peak MiB"] * stage.memory + [stage.figure] * bool(stage.figure)
    rows = []
    for measurement in measured:
        cells = [f"{measurement.row.name}{_version(measurement.row.package)}"]
        if measurement.absent:
            cells.append(measurement.absent)
        else:
            seconds = statistics.median(measurement.seconds)
            ratio = measurement.ratio(measured[0]) if measurement.row.compared else ""
            ratio = "1" if measurement is measured[0] else ratio
            rate = count / seconds
            number = f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
            cells += [f"{1000 * seconds:,.2f}", number, ratio]
            cells += [f"{measurement.mebibytes or 0:,.0f}"] * stage.memory
            cells += [measurement.figure] * bool(stage.figure)
        rows.append((*cells, *[""] * (len(header) - len(cells))))
    return Section(stage.title, tuple(header), rows, [conditions(stage, len(measured[0].seconds))])


def conditions(stage: Stage, rounds: int) -> str:
    """The note on the method and the machine."""
    threads = f"{stage.threads} thread{'s' * (stage.threads > 1)}"
    return (
        f"Medians of {rounds} interleaved rounds, {stage.clock} time, {threads}; {_processor()}, "
        f"PyTorch {torch.__version__}, Python {platform.python_version()}."
    )


def _version(package: str | None) -> str:
    if package is None:
        return ""
    try:
        return f" ({package} {version(package)})"
    except PackageNotFoundError:
        return f" ({package})"


def _processor() -> str:
    """The processor's name and its AVX-512, bfloat16 and AMX flags."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    flags = facts.get("flags", "").split()
    fast = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{facts.get('model name', platform.machine())} ({', '.join(fast)})"
