"""Show the plan of a reproduction in the terminal."""

from pathlib import Path

from morefromless.experiments import SCALES
from morefromless.report.planning import show_remaining
from morefromless.report.terminal import say, show_table
from morefromless.reproduction.plan import Plan
from morefromless.runs import Run


def show_plan(plan: Plan) -> None:
    """Show each experiment's runs, how many are finished, and the cost of the remaining runs."""
    config, setting = plan.config, plan.setting
    say(f"{config.scale}: {SCALES[config.scale].about}")
    rows = []
    counted_paths: set[Path] = set()
    for entry in plan.experiments:
        paths = {run.out for run in entry.runs}
        done = sum(Run(run.out).done for run in entry.runs)
        numbers = map(str, (len(paths), done, len(paths - counted_paths)))
        counted_paths |= paths
        rows.append((entry.name, *numbers, entry.experiment.title))
    header = ("experiment", "runs", "done", "not shared", "full title")
    show_table("", header, rows)
    for name, reason in plan.skipped.items():
        say(f"- {name} is skipped: {reason}")
    show_remaining(plan.runs, setting.store, config.planning, config.out)
