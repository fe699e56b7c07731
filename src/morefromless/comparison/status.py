"""How far a plan is: from its folders alone, whoever carries it out, and wherever."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from morefromless.comparison.cluster import queued
from morefromless.runs import Run, State


@dataclass(frozen=True)
class RunStatus:
    """One run of a plan."""

    name: str
    folder: Path
    state: State
    said: str
    """Why it failed, which process trains it, which job it waits for; nothing otherwise."""


def status(runs: Iterable[Run]) -> list[RunStatus]:
    """Every run once, in the order given."""
    runs = list({run.path: run for run in runs}.values())
    jobs = queued(runs)
    return [RunStatus(run.path.name, run.path, *_found(run, jobs)) for run in runs]


def _found(run: Run, jobs: Mapping[Path, str]) -> tuple[State, str]:
    state = run.state
    if state == "done":
        return state, ""
    said = {"failed": run.failure, "running": run.trainer}.get(state)
    job = f"job {jobs[run.path]}" if run.path in jobs else None
    return state, ", ".join(word for word in (said, job) if word)


def counts(found: Sequence[RunStatus]) -> dict[State, int]:
    """How many runs are in each state; states that none is in are left out."""
    return dict(Counter(one.state for one in found))
