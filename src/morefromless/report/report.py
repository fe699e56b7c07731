"""`mfl report`: one HTML page and its Markdown, from what lies in a folder; nothing is trained.

The folder is that of a reproduction (`plan.json`, `experiments/`) or of one study
(`results.json`). Both forms have one template each, in `pages/`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, stdev

from morefromless.errors import ConfigError
from morefromless.evaluation.results import Results, Summary
from morefromless.report import pages
from morefromless.report.content import CellFile, ExperimentFile, Picture, PlanFile, read
from morefromless.report.folders import remark
from morefromless.report.parts import OWN_HEAD, Part, part, summary_of
from morefromless.report.provenance import facts, runs_table
from morefromless.report.section import Section
from morefromless.report.tables import notes
from morefromless.report.words import (
    count,
    join_words,
    modality_title,
    per_cent,
    typeset,
)


@dataclass(frozen=True)
class Page:
    """All of it."""

    command: str
    title: str
    lede: str
    notice: str
    headlines: Sequence[str]
    parts: Sequence[Part]
    waiting: Sequence[str]
    caveats: Sequence[str]
    variance: Sequence[Section]
    departures: Section | None
    provenance: Section
    runs: Section


def write_report(folder: Path) -> list[Path]:
    """Write `report.md` and `report.html` in `folder`; the page comes last.

    Raises `ConfigError` where it holds neither a reproduction nor a study, or is damaged.
    """
    if (folder / "plan.json").is_file():
        page = _reproduction(folder)
    elif (folder / "results.json").is_file():
        page = _comparison(folder)
    else:
        raise ConfigError(
            f"{folder} holds no results (plan.json, results.json){remark(folder)}. Give a folder "
            "of mfl reproduce or mfl compare."
        )
    pictures = pages.Pictures(folder)
    paths = [folder / "report.md", folder / "report.html"]
    pages.write_text(paths[0], "report.md.jinja", page=page, pictures=pictures)
    pages.write(paths[1], "report", {}, page=page, pictures=pictures)
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
    waiting += [f"{name} is left out: {reason}" for name, reason in plan.skipped.items()]
    results = {
        place: Results.load(folder / place)
        for file in files.values()
        for place in file.studies.values()
    }
    parts = [
        part(file, {s: results[p] for s, p in file.studies.items()}, folder)
        for file in files.values()
    ]
    train, test = plan.data.patches.get("train", 0), plan.data.patches.get("test", 0)
    matters = [matter for matter, _, _ in plan.departures]
    notice = "Data, network and settings are the paper's."
    if matters:
        notice = (
            f"Not the paper's: {join_words(matters)}. So our columns and the paper's are not to be "
            "compared with each other; what may be read here is how our own arms stand to each "
            "other, on these patches."
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
    config, data = results.config, results.data
    file = ExperimentFile(
        name="results",
        title=f"{join_words(map(modality_title, config.primary))} with "
        f"{modality_title(config.privileged)}",
        about="",
        studies={"results": "."},
        cells=[
            CellFile(
                row=modality_title(
                    s.condition.modality, s.condition.task if len(config.tasks) > 1 else ""
                ),
                column=_method(s, results),
                study="results",
                condition=s.condition,
            )
            for s in results.select(lambda c: not c.floor)
        ],
        drawn=[
            Picture(f"{stem}.svg", caption, caption)
            for stem, caption in (
                ("density", "Accuracy against information density, with intervals."),
                ("panels", "Every encoder's accuracy, with intervals; vertical lines are floors."),
            )
            if (folder / f"{stem}.svg").is_file()
        ],
    )
    whole = part(file, {"results": results}, folder)
    # With several tasks the notes of the tables say it themselves.
    marked = len(config.tasks) == 1 and any(s.head for s in results.summaries)
    marks = [OWN_HEAD] if marked else []
    train, test = data.patches.get("train", 0), data.patches.get("test", 0)
    return Page(
        command="mfl compare",
        title=f"Comparison: {file.title}",
        lede=f"{count(len(results.runs), 'run')} on {data.title}: {train:,} training and {test:,} "
        f"test patches at {data.side} px.",
        notice="",
        headlines=[],
        parts=[replace(whole, notes=[*marks, *notes(results)])],
        waiting=[],
        caveats=data.caveats,
        variance=_variance({"results": file}, {".": results}),
        departures=None,
        provenance=facts(None, [results]),
        runs=runs_table([results]),
    )


def _method(summary: Summary, results: Results) -> str:
    """What tells an arm from the study's others."""
    condition, config = summary.condition, results.config
    learnt = config.tasks if condition.arm == "supervised" else config.objectives
    return condition.method if len(learnt) > 1 else condition.title


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
    return [Section(title, ("configuration", "accuracy", "points apart"), rows)] if rows else []


def _variance(files: Mapping[str, ExperimentFile], results: Mapping[str, Results]) -> list[Section]:
    """Standard deviation between the seeds of each cell that has several."""
    rows = []
    for file in files.values():
        found = {study: results[place] for study, place in file.studies.items()}
        summaries = [s for cell in file.cells if (s := summary_of(cell, found))]
        spread = [stdev(s.accuracies) for s in summaries if len(s.accuracies) > 1]
        if spread:
            row = (file.title, str(len(spread)), per_cent(median(spread)), per_cent(max(spread)))
            rows.append(row)
    if not rows:
        return []
    title = "Ours: standard deviation between seeds, in points"
    return [Section(title, ("experiment", "cells", "median", "largest"), rows)]
