"""`mfl report`: an HTML page and the same page in Markdown, from the files of a folder.

The folder is that of a reproduction (`plan.json`, `experiments/`), of one study (`results.json`),
or of several studies in subfolders, such as the demo's. All use the same templates in `pages/`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, stdev
from typing import Any
from urllib.parse import quote

from morefromless.errors import ConfigError
from morefromless.evaluation.results import Results
from morefromless.report import pages
from morefromless.report.content import CellFile, ExperimentFile, Picture, PlanFile, read
from morefromless.report.folders import VALIDATION_FILE, content_clause
from morefromless.report.notes import notes
from morefromless.report.parts import ExperimentSection, build_experiment_section, summary_of
from morefromless.report.provenance import facts, runs_table
from morefromless.report.section import Section
from morefromless.report.words import (
    bounds,
    count,
    join_words,
    modality_title,
    per_cent,
    points,
    typeset,
)
from morefromless.runs import missing_results_remedy


@dataclass(frozen=True, kw_only=True)
class Page:
    """The content of a report page."""

    command: str
    title: str
    lede: str
    notice: str = ""
    headlines: Sequence[str] = ()
    links: Sequence[tuple[str, str]] = ()
    """Other files that were written: description and address."""
    parts: Sequence[ExperimentSection]
    waiting: Sequence[str] = ()
    caveats: Sequence[str]
    variance: Sequence[Section]
    departures: Section | None = None
    provenance: Section
    runs: Section


def write_report(folder: Path) -> list[Path]:
    """Write `report.md` and `report.html` to `folder`; returns their paths, the page last.

    Raises `ConfigError` if the folder holds neither a reproduction nor a study, or is damaged.
    """
    if (folder / "plan.json").is_file():
        page = _reproduction(folder)
    elif (folder / "results.json").is_file():
        page = _comparison(folder)
    elif studies := sorted(path.parent for path in folder.glob("*/results.json")):
        page = _studies(folder, studies)
    else:
        raise ConfigError(
            f"{folder} holds no results (plan.json, results.json){content_clause(folder)}; "
            f"{missing_results_remedy(folder, 'mfl reproduce or mfl compare')}."
        )
    return write_page(folder, page, "report")


def write_overview(folder: Path, studies: Sequence[Path], **words: Any) -> Path:
    """Write `index.html`, a page on several studies of `folder` with links to all their files.

    `words` replace fields of the page, such as title, lede and headlines.
    """
    return write_page(folder, replace(_studies(folder, studies), **words), "index")[-1]


def write_page(folder: Path, page: Page, stem: str) -> list[Path]:
    pictures = pages.Pictures(folder)
    paths = [folder / f"{stem}.md", folder / f"{stem}.html"]
    pages.write_text(paths[0], "report.md.jinja", page=page, pictures=pictures)
    pages.write(paths[1], "report", {}, page=page, pictures=pictures, markdown=paths[0].name)
    return paths


def _reproduction(folder: Path) -> Page:
    plan = read(folder / "plan.json", PlanFile)
    files, waiting = {}, []
    for name in plan.experiments:
        path = folder / "experiments" / f"{name}.json"
        if path.is_file():
            files[name] = read(path, ExperimentFile)
        else:
            waiting.append(f"{plan.titles[name]} is not finished.")
    waiting += [f"{name} is skipped: {reason}" for name, reason in plan.skipped.items()]
    results = {
        place: Results.load(folder / place)
        for file in files.values()
        for place in file.studies.values()
    }
    parts = [
        build_experiment_section(file, {s: results[p] for s, p in file.studies.items()}, folder)
        for file in files.values()
    ]
    train, test = plan.data.patches.get("train", 0), plan.data.patches.get("test", 0)
    matters = [matter for matter, _, _ in plan.departures]
    notice = "Data, network and settings are those of the paper."
    if matters:
        notice = (
            f"Different from the paper: {join_words(matters)}. Do not compare our columns with "
            "the paper's; compare our own arms with each other, on these patches."
        )
    return Page(
        command=plan.command,
        title="More From Less, reproduced",
        lede=f"{count(len(files), 'experiment')} on {plan.data.title}: {train:,} training and "
        f"{test:,} test patches at {plan.data.side} px. {plan.about}",
        notice=notice,
        headlines=[typeset(file.headline) for file in files.values() if file.headline],
        parts=parts,
        waiting=waiting,
        caveats=plan.data.caveats,
        variance=[*_repeated(plan.repeated), *_variance(files, results)],
        departures=Section("", ("matter", "paper", "here"), plan.departures),
        provenance=facts(plan, results.values()),
        runs=runs_table(results.values()),
    )


def _comparison(folder: Path) -> Page:
    results = Results.load(folder)
    file = _study_file("comparison", results, folder, ".")
    data, runs = results.data, count(len(results.runs), "run")
    train, test = data.patches.get("train", 0), data.patches.get("test", 0)
    command, title = "mfl compare", "Comparison"
    lede = f"{runs} on {data.title}: {train:,} training and {test:,} test patches"
    if (folder / VALIDATION_FILE).is_file():
        command, title = "mfl validate", "External validation"
        lede = f"{runs} on {results.config.store}, evaluated on {data.title}: {test:,} test patches"
    return Page(
        command=command,
        title=f"{title}: {file.title}",
        lede=f"{lede} at {data.side} px.",
        headlines=_verdicts(results),
        links=_links(folder, [folder]),
        parts=[_study_section(file, results, folder)],
        caveats=data.caveats,
        variance=_variance({file.name: file}, {".": results}),
        provenance=facts(None, [results]),
        runs=runs_table([results]),
    )


def _studies(folder: Path, studies: Sequence[Path]) -> Page:
    """A page with one part per study."""
    results = {study.name: Results.load(study) for study in studies}
    files = {
        name: replace(_study_file(name, result, folder, name), title=name)
        for name, result in results.items()
    }
    all_results = list(results.values())
    runs = len({run.name for result in all_results for run in result.runs})
    return Page(
        command="mfl report",
        title=folder.name,
        lede=f"{count(len(all_results), 'comparison')} of {count(runs, 'run')}.",
        links=_links(folder, studies),
        parts=[_study_section(files[name], result, folder) for name, result in results.items()],
        caveats=list(dict.fromkeys(c for r in all_results for c in r.data.caveats)),
        variance=_variance(files, results),
        provenance=facts(None, all_results),
        runs=runs_table(all_results),
    )


def _verdicts(results: Results) -> list[str]:
    """One sentence per contrast, for the first three."""
    tasks, objectives = results.config.tasks, results.config.objectives
    sentences = []
    for c in results.contrasts[:3]:
        where = modality_title(c.a.modality, c.a.task if len(tasks) > 1 else "")
        where += f", {c.a.objective}" if len(objectives) > 1 else ""
        reached = f"{points(c.difference.estimate)} points {bounds(c.difference, signed=True)}"
        sentences.append(typeset(f"{c.name}, on {where}: {reached}, {c.text}."))
    return sentences


FILE_DESCRIPTIONS = {
    "report.html": "the page of this comparison alone",
    "results.md": "its tables in Markdown",
    VALIDATION_FILE: "its tables next to those of the internal test patches",
    "results.tex": "its tables for LaTeX (booktabs)",
    "results.csv": "every number, one row per run and metric",
    "summary.csv": "means with intervals",
    "contrasts.csv": "contrasts with intervals and p",
    "results.json": "all results, for programs",
    "views.png": "the input of each branch",
    "representations/cka.svg": "similarity of the arms' representations (CKA)",
}
"""Files of a study and their descriptions."""


def _links(folder: Path, studies: Sequence[Path]) -> list[tuple[str, str]]:
    """Descriptions and addresses of the files of studies below `folder`."""
    links = []
    for study in studies:
        name = "" if study == folder else f"{study.name}: "
        for file, what in FILE_DESCRIPTIONS.items():
            if (study / file).is_file() and (name or file != "report.html"):
                address = (study / file).relative_to(folder).as_posix()
                links.append((f"{name}{what}", quote(address)))
    return links


def _study_file(name: str, results: Results, folder: Path, place: str) -> ExperimentFile:
    """A study as an experiment that has no published numbers."""
    config = results.config
    return ExperimentFile(
        name=name,
        title=f"{join_words(map(modality_title, config.primary))} with "
        f"{modality_title(config.privileged)}",
        about="",
        studies={name: place},
        cells=[
            CellFile(
                row=modality_title(
                    s.condition.modality, s.condition.task if len(config.tasks) > 1 else ""
                ),
                column=results.name(s.condition, modality_title),
                study=name,
                condition=s.condition,
            )
            for s in results.select(lambda c: not c.floor)
        ],
        drawn=[
            Picture(path, caption, caption)
            for stem, caption in (
                ("density", "Accuracy against information density, with intervals."),
                ("panels", "Every encoder's accuracy, with intervals; vertical lines are floors."),
            )
            if (folder / (path := (Path(place) / f"{stem}.svg").as_posix())).is_file()
        ],
    )


def _study_section(file: ExperimentFile, results: Results, folder: Path) -> ExperimentSection:
    return replace(
        build_experiment_section(file, {file.name: results}, folder), notes=notes(results)
    )


def _repeated(repeated: Mapping[str, Sequence[float]]) -> list[Section]:
    rows = [
        (
            name,
            join_words(f"{100 * value:.2f}" for value in values),
            per_cent(max(values) - min(values)),
        )
        for name, values in repeated.items()
    ]
    title = "The paper: one configuration, several single runs"
    return [Section(title, ("configuration", "accuracy", "range, points"), rows)] if rows else []


def _variance(files: Mapping[str, ExperimentFile], results: Mapping[str, Results]) -> list[Section]:
    """Standard deviation between seeds, over all cells with several seeds."""
    rows = []
    for file in files.values():
        by_study = {study: results[place] for study, place in file.studies.items()}
        summaries = [s for cell in file.cells if (s := summary_of(cell, by_study))]
        spread = [stdev(s.accuracies) for s in summaries if len(s.accuracies) > 1]
        if spread:
            row = (file.title, str(len(spread)), per_cent(median(spread)), per_cent(max(spread)))
            rows.append(row)
    if not rows:
        return []
    title = "Ours: standard deviation between seeds, in points"
    return [Section(title, ("experiment", "cells", "median", "largest"), rows)]
