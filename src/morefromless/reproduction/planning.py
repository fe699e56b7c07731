"""What a reproduction will train, in the terminal."""

from pathlib import Path

from morefromless.experiments import SCALES
from morefromless.report.planning import show_remaining
from morefromless.report.terminal import say, show_table
from morefromless.reproduction.plan import Plan
from morefromless.runs import Run


def show_plan(plan: Plan) -> None:
    """Each experiment's runs, what is done, and what the rest takes."""
    config, setting = plan.config, plan.setting
    say(f"{config.scale}: {SCALES[config.scale].about}")
    rows = []
    claimed: set[Path] = set()
    for entry in plan.experiments:
        paths = {run.out for run in entry.runs}
        done = sum(Run(run.out).done for run in entry.runs)
        numbers = map(str, (len(paths), done, len(paths - claimed)))
        claimed |= paths
        rows.append((entry.name, *numbers, entry.experiment.title))
    header = ("experiment", "runs", "done", "of its own", "what it asks")
    show_table("", header, rows)
    for name, reason in plan.skipped.items():
        say(f"- {name} is left out: {reason}")
    show_remaining(plan.runs, setting.store, config.planning, config.out)
