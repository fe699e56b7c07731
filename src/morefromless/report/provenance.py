"""Where results came from: versions, data, hours, machine, and every run."""

from collections.abc import Iterable

import morefromless
from morefromless.evaluation.results import Results, RunRecord
from morefromless.report.content import PlanFile
from morefromless.report.section import Section
from morefromless.report.words import count, duration, join_words


def facts(plan: PlanFile | None, results: Iterable[Results]) -> Section:
    """A table with one row per fact."""
    results = list(results)
    runs = _runs(results)
    devices = dict.fromkeys(str(run.facts.get("device", "")) for run in runs)
    versions: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, version in run.facts.get("versions", {}).items():
            versions.setdefault(name, {})[str(version)] = None
    versions.setdefault("morefromless", {})[morefromless.__version__] = None
    lines = {
        "runs": f"{len(runs):,}, seeds {join_words(map(str, sorted({run.seed for run in runs})))}",
        "training": f"{duration(sum(_seconds(run) for run in runs))} in total",
        "trained on": join_words(devices),
        "versions": "; ".join(f"{n} {join_words(values)}" for n, values in versions.items()),
    }
    stores = [result.data for result in results]
    classes = [(task, len(counts)) for data in stores for task, counts in data.classes.items()]
    if stores:
        lines |= {
            "data": _join_unique(f"{data.title}, hash {data.hash}" for data in stores),
            "classes": _join_unique(f"{task}: {number}" for task, number in classes),
        }
    if plan:
        settings = ", ".join(f"{n.replace('_', ' ')} {v}" for n, v in plan.settings.items())
        machine = plan.machine
        lines |= {
            "command": plan.command,
            "settings": f"{settings}; all others as in the paper",
            "processor": f"{machine.get('processor', '')}, "
            + count(int(machine.get("cores", 0)), "core"),
            "GPUs": join_words(machine.get("gpus") or ["none"]),
            "planned": plan.when,
        }
    return Section("", ("", ""), list(lines.items()))


def runs_table(results: Iterable[Results]) -> Section:
    """A table with one row per run."""
    lines = [
        (
            run.name,
            f"{run.facts.get('steps', 0):,}",
            duration(_seconds(run)),
            str(run.facts.get("device", "")),
            "yes" if run.facts.get("resumed") else "",
        )
        for run in _runs(results)
    ]
    return Section("", ("run", "steps", "training", "device", "resumed"), lines)


def _join_unique(words: Iterable[str]) -> str:
    """Join words, each once."""
    return "; ".join(dict.fromkeys(words))


def _runs(results: Iterable[Results]) -> list[RunRecord]:
    """Each run once, sorted by name."""
    runs = {run.name: run for result in results for run in result.runs}
    return [runs[name] for name in sorted(runs)]


def _seconds(run: RunRecord) -> float:
    return float(run.facts.get("seconds", 0))
