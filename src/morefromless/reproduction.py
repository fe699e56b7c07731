"""`mfl reproduce`: experiments planned together, trained once, and set beside the paper.

OUT/plan.json            which experiments and runs, on which data, by which versions and machine
OUT/runs/                every run, named after what determines it, so that studies share them
OUT/STUDY/               results, tables and figures of one study, as `mfl compare` writes them
OUT/experiments/*.json   the cells of each experiment's table, ours beside the published ones
OUT/report.html, .md     all of it on one page (`mfl report OUT`), from these files alone
"""

import os
import platform
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console

from morefromless import experiments
from morefromless.analysis.represent import represent
from morefromless.cluster import queued_jobs, submit
from morefromless.config import (
    Analysis,
    Probe,
    RepresentConfig,
    ReproduceConfig,
    RunConfig,
    to_flat,
    typed_options,
)
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError, MoreFromLessError
from morefromless.evaluation.conclude import data_facts
from morefromless.evaluation.results import Results
from morefromless.experiments import SCALES, Experiment, Setting, known, published
from morefromless.experiments._paper import departures
from morefromless.files import now
from morefromless.ingest import ingest, open_source
from morefromless.report import similarities
from morefromless.report.content import CellFile, ExperimentFile, Picture, PlanFile, read
from morefromless.report.folders import remark
from morefromless.report.report import write_report
from morefromless.report.study import write_study
from morefromless.report.terminal import say, show_table, wrote
from morefromless.runner import needed_bytes, run_all, status, unique
from morefromless.runs import Run, State, versions
from morefromless.specs import build
from morefromless.study import Study
from morefromless.tasks import build_task

SMOKE = "synthetic:patches=270,patients=18,size=32"
"""Tissue of the smallest scale, with nuclei."""


@dataclass(frozen=True, eq=False)
class PlannedExperiment:
    """An experiment and its studies."""

    name: str
    experiment: Experiment
    studies: dict[str, Study]

    @property
    def runs(self) -> list[RunConfig]:
        """Each once, in the order of the studies."""
        return unique(run for study in self.studies.values() for run in study.runs)

    @property
    def done(self) -> bool:
        return all(study.done for study in self.studies.values())


@dataclass(frozen=True, eq=False)
class Plan:
    """What a reproduction will do."""

    setting: Setting
    experiments: list[PlannedExperiment]
    skipped: dict[str, str] = field(default_factory=dict)
    """Experiments that this store cannot pose, and why."""

    @property
    def config(self) -> ReproduceConfig:
        return self.setting.config

    @property
    def runs(self) -> list[RunConfig]:
        """Every run, each once: shared between experiments, and those of early seeds first."""
        runs = unique(run for planned in self.experiments for run in planned.runs)
        return sorted(runs, key=lambda run: run.seed)


def plan(config: ReproduceConfig) -> Plan:
    """Check every study of the experiments that are asked for; train nothing.

    Raises `ConfigError` or `DataError` where one cannot work; of `all`, those that ask for what
    the store does not hold are left out, and named.
    """
    store = _store(config)
    setting = Setting.of(config, store)
    planned, skipped = [], {}
    for name in _names(config):
        experiment = build(name, experiments, Experiment)
        lacks = _lacks(experiment, setting)
        if lacks and "all" in config.experiments:
            skipped[name] = lacks
        elif lacks:
            raise DataError(f"{name} cannot be asked of {store.path}: {lacks}")
        else:
            studies = {s: Study.of(c, store) for s, c in experiment.studies(setting).items()}
            planned.append(PlannedExperiment(name, experiment, studies))
    return Plan(setting, planned, skipped)


def reproduce(config: ReproduceConfig, console: Console) -> None:
    """Train what is not done, then write what can be said; a failed run stops only its experiments.

    Raises `TrainingError` at the end, where runs failed, or why an experiment has no results.
    """
    planned = plan(config)
    show_plan(planned, console)
    if config.plan:
        return
    save_plan(planned)
    failure: MoreFromLessError | None = None
    try:
        if config.cluster.cluster == "none":
            run_all(planned.runs, config.jobs or 0)
        else:
            jobs = submit(planned.runs, config.out, config.cluster)
            say(
                console,
                f"{len(jobs)} jobs were submitted; mfl status {config.out} says how far they are. "
                "Run this command again when they are done: it makes the tables, and submits what "
                "is left.",
            )
    except MoreFromLessError as error:
        failure = error
    for one in planned.experiments:
        if not one.done:
            waiting = sum(not Run(run.out).done for run in one.runs)
            say(console, f"{one.name} waits for {waiting} of {len(one.runs)} runs.")
            continue
        try:
            write_results(one, planned.setting)
        except MoreFromLessError as error:
            say(console, f"{one.name} has no results: {error}")
            failure = failure or error
    if any(config.out.glob("experiments/*.json")):
        wrote(console, write_report(config.out))
    if failure:
        raise failure


def write_results(planned: PlannedExperiment, setting: Setting) -> None:
    """Evaluate an experiment's runs, which are done, and write its results, tables and figures."""
    out, experiment = setting.config.out, planned.experiment
    results: dict[str, Results] = {}
    for name, study in planned.studies.items():
        results[name] = study.evaluate()
        write_study(results[name], study.config.out)
    cells = experiment.cells(results, setting)
    folder = out / planned.name
    drawn = [
        Picture(f"{planned.name}/{picture.path}", picture.caption, picture.alt)
        for picture in (experiment.draw(cells, folder) if cells else [])
    ]
    pictures, words = [], []
    for figure in experiment.figures(setting):
        where = folder / figure.study
        config = RepresentConfig(
            study=planned.studies[figure.study].config.out,
            primary=figure.primary,
            arms=figure.arms,
            out=where,
            store=setting.store.path,
            trust=True,
            analysis=Analysis(device=setting.recipe.get("device", "auto")),
            probe=Probe(standardise=setting.recipe.get("standardise", False)),
        )
        cka = any(stem.startswith("cka") for stem in figure.stems)
        found = represent(config, cka)
        similarities.write(found, figure.stems)
        pictures += similarities.pictures(found, figure.stems, out)
        words += similarities.tables(found) if cka else []
    ExperimentFile(
        name=planned.name,
        title=experiment.title,
        about=experiment.about,
        headline=experiment.headline(results, setting) if cells else "",
        studies={
            name: str(study.config.out.relative_to(out)) for name, study in planned.studies.items()
        },
        cells=_cells(planned.name, cells, results),
        drawn=drawn,
        pictures=pictures,
        tables=words,
    ).write(out)


def _cells(
    name: str, cells: Sequence[experiments.Cell], results: dict[str, Results]
) -> list[CellFile]:
    """Ours, joined with the published ones by row and column; those that were not run as well."""
    papers = {(n.row, n.column): n for n in published() if n.experiment == name}
    studies = {
        id(summary): study for study, result in results.items() for summary in result.summaries
    }
    files = []
    for cell in cells:
        paper = papers.pop((cell.row, cell.column), None)
        files.append(
            CellFile(
                row=cell.row,
                column=cell.column,
                study=studies[id(cell.summary)],
                condition=cell.summary.condition,
                note=cell.note,
                published=paper.value if paper else None,
                place=paper.place if paper else "",
            )
        )
    if cells:
        files += [
            CellFile(row=n.row, column=n.column, published=n.value, place=n.place)
            for n in papers.values()
        ]
    return files


def save_plan(planned: Plan) -> None:
    """Write what `mfl status` and `mfl report` read; experiments of earlier commands stay.

    Raises `ConfigError` where the folder holds a reproduction of other data or settings.
    """
    setting, config = planned.setting, planned.config
    passing = {*vars(RunConfig(store=Path(), out=Path()).machine), "jobs", "seeds"}
    settings = {k: v for k, v in setting.recipe.items() if k not in passing}
    settings["protocol"] = config.protocol
    earlier = _earlier(planned, settings)
    data = data_facts(setting.store, {spec: build_task(spec) for spec in setting.tasks})
    repeated: dict[str, list[float]] = {}
    for number in published():
        if number.configuration:
            repeated.setdefault(number.configuration, []).append(number.value)
    PlanFile(
        command=command(config),
        options=to_flat(config),
        about=SCALES[config.scale].about,
        settings=settings,
        sides=list(setting.sides),
        seeds=int(setting.recipe["seeds"]),
        data=data,
        experiments=(earlier.experiments if earlier else {})
        | {one.name: [run.out.name for run in one.runs] for one in planned.experiments},
        titles=(earlier.titles if earlier else {})
        | {one.name: one.experiment.title for one in planned.experiments},
        skipped=planned.skipped,
        departures=list(
            departures(planned.runs, data, bool(setting.recipe.get("standardise", False)))
        ),
        repeated=repeated,
        versions=versions(),
        machine=machine(),
        when=now(),
    ).write(config.out)


def _earlier(planned: Plan, settings: dict[str, Any]) -> PlanFile | None:
    """The plan that the folder holds already, where this one may be added to it."""
    out = planned.config.out
    if not (out / "plan.json").is_file():
        return None
    earlier = read(out / "plan.json", PlanFile)
    seeds = int(planned.setting.recipe["seeds"])
    if seeds < earlier.seeds:
        raise ConfigError(
            f"{out} holds a reproduction with {earlier.seeds} seeds, whose tables {seeds} would "
            "overwrite; give another --out."
        )
    ours = {"data": planned.setting.store.hash, "sides": list(planned.setting.sides), **settings}
    theirs = {"data": earlier.data.hash, "sides": earlier.sides, **earlier.settings}
    for name in dict.fromkeys((*theirs, *ours)):
        if theirs.get(name) != ours.get(name):
            raise ConfigError(
                f"{out} holds a reproduction with {name} {theirs.get(name)}, not "
                f"{ours.get(name)}; give another --out, and its runs stay as they are."
            )
    return earlier


def command(config: ReproduceConfig) -> str:
    """The command line that these options came from.

    >>> command(ReproduceConfig(experiments=("table1",), scale="smoke", seeds=2))
    'mfl reproduce table1 --scale smoke --seeds 2'
    """
    options = typed_options(
        config, ReproduceConfig(experiments=()), without=("experiments", "plan")
    )
    return shlex.join(["mfl", "reproduce", *config.experiments, *options])


def machine() -> dict[str, Any]:
    """What the runs are trained on."""
    gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return {"processor": _processor(), "cores": len(os.sched_getaffinity(0)), "gpus": gpus}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _names(config: ReproduceConfig) -> Iterator[str]:
    if not config.experiments:
        raise ConfigError(f"Name an experiment ({', '.join(known())}), or all.")
    yield from known() if "all" in config.experiments else dict.fromkeys(config.experiments)


def _store(config: ReproduceConfig) -> Store:
    if config.store is not None:
        return Store.open(config.store)
    if config.scale != "smoke":
        raise ConfigError(
            f"--scale {config.scale} needs patches; give --store STORE, made with mfl ingest."
        )
    path = config.out / "store"
    ingest(open_source(SMOKE), path, progress=False)
    return Store.open(path)


def _lacks(experiment: Experiment, setting: Setting) -> str | None:
    if "tissue" in experiment.needs and "tissue" not in setting.tasks:
        return "its patches are all of one class; ingest it with classes of tissue."
    if "nuclei" in experiment.needs and setting.masks is None:
        return "it holds no nuclei; ingest again with --nuclei (docs/nuclei.md)."
    return None


# --------------------------------------------------------------------------------------------------
# In the terminal
# --------------------------------------------------------------------------------------------------

STATES: tuple[State, ...] = get_args(State)


def show_plan(planned: Plan, console: Console) -> None:
    """Each experiment's runs, what is done, and what disk the rest takes."""
    config, setting = planned.config, planned.setting
    say(console, f"{config.scale}: {SCALES[config.scale].about}")
    rows = []
    claimed: set[Path] = set()
    for one in planned.experiments:
        paths = {run.out for run in one.runs}
        done = sum(Run(run.out).done for run in one.runs)
        numbers = map(str, (len(paths), done, len(paths - claimed)))
        claimed |= paths
        rows.append((one.name, *numbers, one.experiment.title))
    header = ("experiment", "runs", "done", "of its own", "what it asks")
    show_table(console, "", header, rows)
    for name, reason in planned.skipped.items():
        say(console, f"- {name} is left out: {reason}")
    waiting = [run for run in planned.runs if not Run(run.out).done]
    say(
        console,
        f"{len(waiting)} of {len(planned.runs)} runs on {setting.store.path} are to be trained, "
        f"with up to {needed_bytes(waiting) / 1e9:,.2f} GB of disk; into {config.out}.",
    )


def show_status(out: Path, console: Console) -> None:
    """How many runs of each experiment are in each state, and why those not done are not.

    Raises `ConfigError` where the folder holds neither a plan nor runs.
    """
    planned = _planned(out)
    if not planned:
        raise ConfigError(
            f"{out} holds no runs{remark(out)}. Give a folder of mfl reproduce, mfl compare, "
            "mfl demo or mfl train."
        )
    runs = [Run(path) for path in dict.fromkeys(p for paths in planned.values() for p in paths)]
    statuses = dict(zip((run.path for run in runs), status(runs, queued_jobs(runs)), strict=True))
    rows = []
    for name, paths in planned.items():
        states = [statuses[path].state for path in paths]
        rows.append((name, *(str(states.count(state) or "") for state in STATES)))
    show_table(console, "", ("experiment", *STATES), rows)
    for one in sorted(statuses.values(), key=lambda s: STATES.index(s.state)):
        if one.state != "done" and (one.detail or one.state != "waiting"):
            say(console, f"- {one.name} {one.state}" + (f": {one.detail}" if one.detail else ""))


def _planned(out: Path) -> dict[str, list[Path]]:
    """The runs of each experiment; without a plan those of each study that were begun."""
    if (out / "plan.json").is_file():
        experiments = read(out / "plan.json", PlanFile).experiments
        return {name: [out / "runs" / run for run in runs] for name, runs in experiments.items()}
    studies: dict[str, list[Path]] = {}
    for record in sorted((*out.glob("run.json"), *out.glob("**/runs/*/run.json"))):
        run = record.parent
        study = run if run == out else run.parent.parent
        name = out.absolute().name if study == out else study.relative_to(out).as_posix()
        studies.setdefault(name, []).append(run)
    return studies
