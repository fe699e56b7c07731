"""A plan and its state, for the terminal."""

import json
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table

from morefromless.comparison.disk import needed_bytes
from morefromless.comparison.estimate import Estimate, estimate, steps_of
from morefromless.comparison.status import status
from morefromless.errors import ConfigError
from morefromless.experiments import SCALES
from morefromless.reproduction.plan import Plan
from morefromless.runs import Run, State

FLAT = 1080
"""The fewest steps after which learning curves on tissue were seen to be flat, all of them
(docs/results/tissue-nuclei.md); the paper's runs have 78,100."""


def show_plan(plan: Plan, console: Console) -> None:
    """Each experiment's runs, what is done, and what time and disk the rest takes."""
    setting = plan.setting
    console.print(f"[bold]{setting.scale}[/]: {SCALES[setting.scale].about}")
    console.print(
        f"{setting.store.path} ({setting.store.meta['datasheet']['title']}), protocol "
        f"{setting.protocol}; into {plan.options.out}."
    )
    table = Table("experiment", "runs", "done", "of its own", "what it asks")
    claimed: set[object] = set()
    for wanted in plan.wanted:
        paths = {one.run.path for one in wanted.runs}
        done = sum(one.run.done for one in wanted.runs)
        own = len(paths - claimed)
        claimed |= paths
        table.add_row(wanted.name, str(len(paths)), str(done), str(own), wanted.experiment.title)
    console.print(table)
    for name, reason in plan.skipped.items():
        console.print(f"- {name} is left out: {reason}")
    _show_cost(plan, estimate(plan.runs, setting.store), needed_bytes(plan.runs, 1), console)
    for warning in warnings(plan):
        console.print(f"- {warning}")


STATES: tuple[State, ...] = get_args(State)


def show_status(out: Path, console: Console) -> None:
    """How many runs of each experiment are in each state, and what is said of those not done.

    Raises `ConfigError` where the folder holds neither a plan nor runs.
    """
    planned = _planned(out)
    found = {one.name: one for one in status([Run(out / "runs" / n) for n in _all(planned)])}
    table = Table("experiment", *STATES)
    for name, runs in planned.items():
        states = [found[run].state for run in runs]
        table.add_row(name, *(str(sum(s == one for one in states) or "") for s in STATES))
    console.print(table)
    for state in ("failed", "running", "begun", "waiting"):
        for one in (one for one in found.values() if one.state == state):
            if state == "waiting" and not one.said:
                continue  # those without a job are counted above
            console.print(f"- {one.name} {state}" + (f": {one.said}" if one.said else ""))


def _planned(out: Path) -> dict[str, list[str]]:
    """Experiment to names of its runs; without a plan, all runs that were begun there."""
    path = out / "plan.json"
    if path.is_file():
        try:
            told: dict[str, list[str]] = json.loads(path.read_text())["experiments"]
            return told
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} is damaged; run mfl reproduce again.") from error
    begun = sorted(path.parent.name for path in out.glob("runs/*/run.json"))
    if not begun:
        raise ConfigError(f"{out} holds no runs; give the folder of mfl reproduce or mfl compare.")
    return {out.name: begun}


def _all(planned: dict[str, list[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in planned.values() for name in names))


def warnings(plan: Plan) -> list[str]:
    """What a person should know before so much is trained."""
    steps = min(steps_of(one.options, plan.setting.store) for one in plan.runs)
    if steps >= FLAT:
        return []
    return [
        f"Runs have {steps:,} steps, and {FLAT:,} are the fewest after which we saw all learning "
        "curves flat; asymmetric training is slower than symmetric, so the tables may say more of "
        "the length of training than of the method. Give more --epochs, or look at the curves."
    ]


def _show_cost(plan: Plan, cost: Estimate, disk: int, console: Console) -> None:
    total = len(plan.runs)
    if not cost.runs:
        console.print(f"All {total} runs are done.")
        return
    how = "from runs that are done" if cost.measured else "from steps timed just now"
    hours = cost.seconds / 3600
    said = f"{hours:.1f} hours" if hours >= 1 else f"{cost.seconds / 60:.0f} minutes"
    console.print(
        f"{cost.runs} of {total} runs are to be trained, {cost.steps:,} steps: about {said} one "
        f"after the other ({how}), less side by side on several GPUs or cores; and "
        f"{disk / 1e9:,.2f} GB of disk."
    )
