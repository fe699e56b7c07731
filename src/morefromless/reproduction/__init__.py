"""`mfl reproduce`: plan experiments together, train each run once, and compare with the paper.

OUT/plan.json            experiments and runs, with the data, versions and machine
OUT/runs/                every run, named after what determines it, so that studies share runs
OUT/STUDY/               results, tables and figures of one study, as written by `mfl compare`
OUT/experiments/*.json   the cells of each experiment's table, with the published numbers
OUT/report.html, .md     one page with everything (`mfl report OUT`), made only from these files
"""

from collections.abc import Sequence

from morefromless import experiments
from morefromless.analysis.represent import represent
from morefromless.cluster import submit
from morefromless.config import Analysis, Probe, RepresentConfig, ReproduceConfig
from morefromless.errors import MoreFromLessError
from morefromless.evaluation.results import Results
from morefromless.experiments import Setting, published
from morefromless.report import similarities
from morefromless.report.content import CellFile, ExperimentFile, Picture
from morefromless.report.report import write_report
from morefromless.report.study import write_study
from morefromless.report.terminal import say, show_written
from morefromless.report.words import count
from morefromless.reproduction.plan import Plan, PlannedExperiment
from morefromless.reproduction.planning import show_plan
from morefromless.reproduction.record import save_plan
from morefromless.runner import run_all
from morefromless.runs import Run


def reproduce(config: ReproduceConfig) -> None:
    """Train unfinished runs, then write all available results.

    A failed run stops only its own experiments. Raises `TrainingError` at the end if runs failed,
    or else the error of the first experiment without results.
    """
    plan = Plan.of(config)
    show_plan(plan)
    if config.planning.plan:
        return
    save_plan(plan)
    failure: MoreFromLessError | None = None
    try:
        if config.cluster.cluster == "none":
            run_all(plan.runs, config.jobs or 0)
        else:
            jobs = submit(plan.runs, config.out, config.cluster)
            say(
                f"Submitted {count(len(jobs), 'job')}; mfl status {config.out} shows their "
                "progress. Run this command again when they are finished: it writes the tables, "
                "and submits unfinished runs.",
            )
    except MoreFromLessError as error:
        failure = error
    for entry in plan.experiments:
        if not entry.done:
            waiting = sum(not Run(run.out).done for run in entry.runs)
            say(f"{entry.name} waits for {waiting} of {len(entry.runs)} runs.")
            continue
        try:
            write_results(entry, plan.setting)
        except MoreFromLessError as error:
            say(f"{entry.name} has no results: {error}")
            failure = failure or error
    if any(config.out.glob("experiments/*.json")):
        show_written(write_report(config.out))
    if failure:
        raise failure


def write_results(entry: PlannedExperiment, setting: Setting) -> None:
    """Evaluate an experiment's finished runs, and write its results, tables and figures."""
    out, experiment = setting.config.out, entry.experiment
    results: dict[str, Results] = {}
    for name, study in entry.studies.items():
        results[name] = study.evaluate()
        write_study(results[name], study.config.out)
    cells = experiment.cells(results, setting)
    folder = out / entry.name
    drawn = [
        Picture(f"{entry.name}/{picture.path}", picture.caption, picture.alt)
        for picture in (experiment.draw(cells, folder) if cells else [])
    ]
    pictures, tables = [], []
    for figure in experiment.figures(setting):
        config = RepresentConfig(
            study=entry.studies[figure.study].config.out,
            primary=figure.primary,
            arms=figure.arms,
            out=folder / figure.study,
            store=setting.store.path,
            trust=True,
            analysis=Analysis(device=setting.recipe.get("device", "auto")),
            probe=Probe(standardise=setting.recipe.get("standardise", False)),
        )
        cka = any(stem.startswith("cka") for stem in figure.stems)
        result = represent(config, cka)
        similarities.write(result, figure.stems)
        pictures += similarities.pictures(result, figure.stems, out)
        tables += similarities.tables(result) if cka else []
    ExperimentFile(
        name=entry.name,
        title=experiment.title,
        about=experiment.about,
        headline=experiment.headline(results, setting) if cells else "",
        studies={
            name: str(study.config.out.relative_to(out)) for name, study in entry.studies.items()
        },
        cells=_cells(entry.name, cells, results),
        drawn=drawn,
        pictures=pictures,
        tables=tables,
    ).write(out)


def _cells(
    name: str, cells: Sequence[experiments.Cell], results: dict[str, Results]
) -> list[CellFile]:
    """Our cells, joined with published numbers by row and column, and numbers without a run."""
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
