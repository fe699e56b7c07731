"""Progress display for all commands: on standard error, in one of four modes.

- `bar`: in a terminal: a single bar; nested bars are hidden
- `lines`: in a log, and in a dumb terminal (`TERM=dumb`) such as for screen readers: one line per
  minute, without carriage returns and escape codes
- `json`: the same, with each line as a JSON object (`--json`)
- `quiet`: nothing (`--quiet`)
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal, cast

from tqdm import tqdm

Mode = Literal["bar", "lines", "json", "quiet"]
MODE_VARIABLE = "MFL_PROGRESS"
"""Environment variable of the mode, so that worker processes use the same one."""
MINUTE = 60.0
TERM_PREFIX = "term/"
"""Prefix of the name of a part of the loss, in a record."""


def mode() -> Mode:
    """Return the requested mode; by default a bar in a terminal, and lines elsewhere."""
    requested = os.environ.get(MODE_VARIABLE)
    animated = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return cast(Mode, requested or ("bar" if animated else "lines"))


@contextmanager
def use_mode(requested: Mode | None) -> Iterator[None]:
    """Show progress in this mode within the block; None leaves the mode unchanged."""
    earlier = os.environ.get(MODE_VARIABLE)
    if requested:
        os.environ[MODE_VARIABLE] = requested
    try:
        yield
    finally:
        if requested and earlier is None:
            del os.environ[MODE_VARIABLE]
        elif requested:
            os.environ[MODE_VARIABLE] = str(earlier)


class Bar(tqdm):  # type: ignore[type-arg]
    """A tqdm bar that hides nested bars, or lines in a log.

    >>> sum(Bar(range(4), desc="add", unit="number"))
    6
    """

    shares: dict[str, float]
    """Progress of each task that runs in parallel, by name, from 0 to 1."""

    def __init__(self, *args: Any, disable: bool = False, **options: Any) -> None:
        self.mode, self.shares, self.last_written = mode(), {}, time.time()
        within = self.mode == "bar" and len(Bar._instances) > 1  # type: ignore[attr-defined]
        if self.mode != "bar":
            # The first line is written after one minute; shorter tasks write none.
            options |= {"mininterval": MINUTE, "miniters": 1, "delay": MINUTE}
        super().__init__(
            *args,
            disable=disable or within or self.mode == "quiet",
            leave=False,
            dynamic_ncols=True,
            **options,
        )  # type: ignore[call-overload]
        self.completed = self.n

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if self.total == 0:  # there is nothing to do
            return None
        if self.mode == "bar":
            return super().display(msg, pos)
        if time.time() - self.last_written < MINUTE:  # a new postfix alone does not write a line
            return None
        self.last_written = time.time()
        values = self.format_dict
        since = self.n - self.initial  # work before the start does not count for the speed
        rate = values["rate"] or (since / values["elapsed"] if values["elapsed"] else 0)
        remaining = (self.total - self.n) / rate if self.total and rate else None
        write_record(
            {
                "task": self.desc.rstrip(": "),
                "done": self.n,
                "total": self.total,
                "unit": self.unit.strip(),
                "seconds_left": remaining and round(remaining),
            }
        )
        return None

    def close(self) -> None:
        if not self.disable and self.mode != "bar":
            self._decr_instances(self)  # type: ignore[attr-defined]
            self.disable = True
        super().close()

    def update_task(self, name: str, share: float, note: str) -> None:
        """Show the progress of one of several parallel tasks, from 0 to 1."""
        self.shares[name] = share
        self.show_shares(note)

    def finish(self, name: str) -> None:
        """Count one of the parallel tasks as done."""
        self.shares.pop(name, None)
        self.completed += 1
        self.show_shares("")

    def show_shares(self, note: str) -> None:
        if not self.disable:
            self.set_postfix_str(note, refresh=False)
            self.n = self.completed + sum(self.shares.values())
            if self.mode == "bar" or time.time() - self.last_print_t >= MINUTE:
                self.last_print_t = time.time()
                self.refresh()


# tqdm's own lock is a system semaphore, which a killed worker would leave behind.
Bar.set_lock(threading.RLock())


def warn(sentence: str) -> None:
    """Print a sentence on standard error, above the bar if there is one."""
    with suppress(OSError):
        Bar.write(sentence, file=sys.stderr)


def write_record(record: Mapping[str, Any]) -> None:
    """Write one line of a log: a JSON object, or words. Errors while writing are ignored."""
    line = json.dumps(record) if mode() == "json" else format_record(record)
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def format_record(record: Mapping[str, Any]) -> str:
    """Format a record in words, as shown in a log.

    >>> format_record({"task": "decoding", "done": 1200, "total": 5000, "unit": "patches"})
    'decoding: 1,200 of 5,000 patches'
    >>> format_record({"task": "a-s0", "done": 7, "total": 9, "unit": "steps", "loss": 1.5})
    'a-s0: 7 of 9 steps, loss 1.5'
    """
    names = ("task", "done", "total", "unit")
    task, done, total, unit = (record.get(name) for name in names)
    of = f" of {total:,}" if total else ""
    parts = [f"{task}: {round(done, 1) if isinstance(done, float) else done:,}{of} {unit}"]
    for name, value in record.items():
        if name == "seconds_left" and value is not None:
            parts.append(f"{tqdm.format_interval(value)} left")
        elif name not in (*names, "seconds_left") and "/" not in name.removeprefix(TERM_PREFIX):
            number = f"{value:.4g}" if isinstance(value, float) else value
            parts.append(f"{name.removeprefix(TERM_PREFIX).replace('_', ' ')} {number}")
    return ", ".join(parts)


Report = Callable[[str, float, str], None]
_reports: list[Report] = []


@contextmanager
def reported_to(report: Report) -> Iterator[None]:
    """Within the block, training calls `report` with a run's name, its progress from 0 to 1, and a
    note."""
    _reports.append(report)
    try:
        yield
    finally:
        _reports.remove(report)


def report() -> Report | None:
    """Return the function that training reports progress to; None if training shows its own bar."""
    return _reports[-1] if _reports else None
