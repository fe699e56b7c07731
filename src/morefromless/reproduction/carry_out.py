"""Carrying a plan out: runs that are not done, then each experiment's numbers and figures."""

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from tqdm import tqdm

from morefromless.comparison import cluster
from morefromless.comparison.cluster import ClusterOptions
from morefromless.comparison.compare import Comparison
from morefromless.comparison.execute import execute
from morefromless.comparison.represent import represent
from morefromless.comparison.transfer import Transfer
from morefromless.data import atomic
from morefromless.errors import MoreFromLessError, TrainingError
from morefromless.experiments import Look
from morefromless.options import RepresentOptions
from morefromless.report import represented, table
from morefromless.report import transfer as transfer_table
from morefromless.report.figures import write_figures
from morefromless.report.transfer_figure import write_figure
from morefromless.reproduction.energy import metered
from morefromless.reproduction.plan import Plan, Wanted

Found = Mapping[str, Comparison | Transfer]


def carry_out(plan: Plan, console: Console) -> None:
    """Train what is not done, then write what can be said; a failed run stops only its experiments.

    Raises `TrainingError` at the end, where runs failed, or why an experiment cannot be concluded.
    """
    failure: TrainingError | None = None
    try:
        with metered(plan.options.out / "energy.jsonl"):
            execute(plan.runs, plan.setting.recipe.get("jobs", 0))
    except TrainingError as error:
        failure = error
    _conclude_all(plan, console, failure)


def _conclude_all(plan: Plan, console: Console, failure: MoreFromLessError | None = None) -> None:
    """Conclude what is done; an experiment that cannot be concluded does not keep the others from
    it. Raises `failure` at the end, else why the first of those cannot."""
    for wanted in plan.wanted:
        if wanted.done:
            try:
                conclude(wanted, plan)
            except MoreFromLessError as error:
                console.print(f"{wanted.name} cannot be concluded: {error}")
                failure = failure or error
        else:
            waiting = sum(not one.run.done for one in wanted.runs)
            console.print(f"{wanted.name} waits for {waiting} of {len(wanted.runs)} runs.")
    if failure:
        raise failure


def submit(plan: Plan, console: Console) -> None:
    """Put what is not done into a cluster's queue, and conclude the experiments that are done."""
    options = plan.options
    asked = ClusterOptions(
        kind="local" if options.cluster == "local" else "slurm",
        partition=options.partition,
        account=options.account,
        minutes=options.minutes,
        gpus=options.gpus,
        cpus=options.cpus,
        memory=options.memory,
    )
    jobs = cluster.submit(plan.runs, options.out, asked)
    console.print(
        f"{len(jobs)} jobs were submitted; mfl status {options.out} says how far they are. Run "
        "this command again when they are done: it makes the tables, and submits what is left."
    )
    _conclude_all(plan, console)


def conclude(wanted: Wanted, plan: Plan) -> None:
    """Evaluate an experiment's runs, which are done, and write its tables, figures and numbers."""
    out = plan.options.out
    found: dict[str, Comparison | Transfer] = {}
    written: dict[str, list[Path]] = {}
    for name, study in wanted.studies.items():
        found[name] = study.finish()
        written[name] = _write(found[name])
    asked = tqdm(
        wanted.experiment.looks(plan.setting),
        desc=f"{wanted.name} figures",
        unit="study",
        leave=False,
        dynamic_ncols=True,
    )
    looks = [_look(look, found, wanted.name, plan) for look in asked]
    atomic.write_json(
        out / "experiments" / f"{wanted.name}.json",
        {
            "name": wanted.name,
            "title": wanted.experiment.title,
            "about": wanted.experiment.about,
            "numbers": [
                dataclasses.asdict(n) for n in wanted.experiment.numbers(found, plan.setting)
            ],
            "contrasts": [c for one in found.values() for c in _contrasts(one)],
            "floors": [f for one in found.values() for f in _floors(one)],
            "unbeaten": [
                {**dataclasses.asdict(f), "study": one.options.out.name}
                for one in found.values()
                for f in one.unbeaten
            ],
            "rising": sorted({r for one in found.values() for r in _rising(one)}),
            "curves": [
                str(path.relative_to(out))
                for paths in written.values()
                for path in paths
                if path.name == "curves.svg"
            ],
            "pictures": [
                str(path.relative_to(out))
                for paths in written.values()
                for path in paths
                if path.name in ("density.svg", "transfer.svg")
            ],
            "looks": looks,
            "caveats": list(dict.fromkeys(c for one in found.values() for c in one.caveats)),
            "seconds": sum(float(one.run.record["seconds"]) for one in wanted.runs),
            "runs": [one.run.path.name for one in wanted.runs],
        },
    )


def _write(found: Comparison | Transfer) -> list[Path]:
    """The study's own tables and figures."""
    if isinstance(found, Comparison):
        table.report(found).write(found.options.out, "comparison")
        return write_figures(found, found.options.out)
    transfer_table.report(found).write(found.options.out, "transfer")
    return write_figure(found, found.options.out)


def _look(look: Look, found: Found, name: str, plan: Plan) -> dict[str, Any]:
    """The figures of one look, and a sentence about each."""
    study = found[look.study]
    folder = plan.options.out / name / look.study
    setting = plan.setting
    options = RepresentOptions(
        comparison=study.options.out,
        primary=look.primary,
        arms=look.arms,
        out=folder,
        standardise=setting.recipe.get("standardise", False),
        device=setting.recipe.get("device", "auto"),
    )
    cka = any(stem.startswith("cka") for stem in look.figures)
    made = represent(replace(options, store=setting.store.path), cka)
    represented.write_figures(made, look.figures)
    told = represented.report(made) if cka else None
    if told:
        told.write(folder, "representations")
    return {
        "study": look.study,
        "primary": look.primary,
        "figures": [
            str((folder / f"{stem}.svg").relative_to(plan.options.out))
            for stem in look.figures
            if (folder / f"{stem}.svg").is_file()
        ],
        "sections": [dataclasses.asdict(one) for one in told.sections] if told else [],
        "notes": told.notes if told else [],
    }


def _contrasts(found: Comparison | Transfer) -> list[dict[str, Any]]:
    made = []
    for one in found.contrasts:
        if isinstance(found, Comparison):
            name, on = one.name, one.primary  # type: ignore[union-attr]
        else:
            name = f"{one.a.title} - {one.b.title}"
            on = f"{one.task}: {one.modality}"  # type: ignore[union-attr]
        made.append(
            {
                "name": name,
                "on": on,
                "difference": dataclasses.asdict(one.difference),
                "p": one.holm_p,
                "verdict": one.text,
                "study": found.options.out.name,
            }
        )
    return made


def _floors(found: Comparison | Transfer) -> list[dict[str, Any]]:
    study = {"study": found.options.out.name}
    if isinstance(found, Comparison):
        return [{**dataclasses.asdict(floor), **study} for floor in found.floors]
    return [
        {**dataclasses.asdict(floor), "task": task, **study}
        for task, floors in found.floors.items()
        for floor in floors
    ]


def _rising(found: Comparison | Transfer) -> list[str]:
    if isinstance(found, Comparison):
        return [f"{row.title} on {row.modality}" for row in found.rows if row.rising]
    return [f"{cell.method.title} on {cell.modality}" for cell in found.cells if cell.rising]
