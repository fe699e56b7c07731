"""Show the state of the runs below a folder in the terminal."""

import os
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import get_args

from morefromless.cluster import queued_jobs
from morefromless.errors import ConfigError
from morefromless.report.content import PlanFile, read
from morefromless.report.folders import content_clause
from morefromless.report.terminal import say, shell_quote, show_table
from morefromless.runner import planned_folders, status
from morefromless.runs import PLANNED_FILE, Run, State

STATES: tuple[State, ...] = get_args(State)


def show_status(out: Path) -> None:
    """Print how many runs of each experiment are in each state, with details of unfinished ones.

    Raises `ConfigError` if the folder holds neither a plan nor runs.
    """
    experiments = _experiments(out)
    if not experiments:
        raise ConfigError(
            f"{out} holds no runs{content_clause(out)}. Give a folder of mfl reproduce, "
            "mfl compare, mfl demo or mfl train."
        )
    runs = [Run(path) for path in dict.fromkeys(p for paths in experiments.values() for p in paths)]
    statuses = dict(zip((run.path for run in runs), status(runs, queued_jobs(runs)), strict=True))
    rows = []
    for name, paths in experiments.items():
        states = [statuses[path].state for path in paths]
        rows.append((name, *(str(states.count(state) or "") for state in STATES)))
    show_table("", ("runs of", *STATES), rows)
    names = Counter(run.name for run in statuses.values())
    for path, run in sorted(statuses.items(), key=lambda item: STATES.index(item[1].state)):
        if run.state != "done" and (run.detail or run.state != "waiting"):
            name = run.name if names[run.name] == 1 else str(path)
            say(f"- {name} {run.state}" + (f": {run.detail}" if run.detail else ""))
    reached = {run.state for run in statuses.values()}
    if reached == {"done"}:
        _say_next(out)
    elif "running" not in reached:
        say("Next: repeat the command that started these runs; it resumes them.")


def _say_next(out: Path) -> None:
    if (out / "run.json").is_file():
        say(f"Next: mfl probe {shell_quote(out)}")
    elif any((out / name).is_file() for name in ("plan.json", "results.json")):
        say(f"Next: mfl report {shell_quote(out)}")


def _experiments(out: Path) -> dict[str, list[Path]]:
    """The planned and the started runs of each experiment and of each study below a folder."""
    out = Path(os.path.normpath(out.absolute()))  # the same form as the paths of `planned_folders`
    experiments: dict[str, list[Path]] = {}
    studies: dict[Path, list[Path]] = {}
    for file in sorted(out.glob("**/plan.json")):
        for name, runs in read(file, PlanFile).experiments.items():
            where = (file.parent.relative_to(out) / name).as_posix()
            experiments[where] = [file.parent / "runs" / run for run in runs]
    for file in sorted(out.glob(f"**/{PLANNED_FILE}")):
        studies[file.parent] = planned_folders(file.parent)
    known = {path for paths in chain(experiments.values(), studies.values()) for path in paths}
    patterns = ("run.json", "*/run.json", "**/runs/*/run.json")
    for record in sorted({file for pattern in patterns for file in out.glob(pattern)}):
        run = record.parent
        if run not in known:
            study = out if out in (run, run.parent) else run.parent.parent
            studies.setdefault(study, []).append(run)
    for study, paths in studies.items():
        name = out.name if study == out else study.relative_to(out).as_posix()
        experiments[name] = paths
    return experiments
