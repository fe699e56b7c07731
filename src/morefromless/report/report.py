"""`mfl report`: one HTML page and its Markdown, from what lies in a folder; nothing is trained.

The folder is that of a reproduction (`plan.json`, `experiments/`) or of one study
(`results.json`). Both forms have one template each, in `pages/`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median, stdev

from morefromless.errors import ConfigError
from morefromless.evaluation.results import Contrast, Results, Summary
from morefromless.report import pages
from morefromless.report.content import CellFile, ExperimentFile, Picture, PlanFile, read
from morefromless.report.provenance import facts, runs_table
from morefromless.report.section import Section, p_value
from morefromless.report.tables import TESTS, floor_notes, notes
from morefromless.report.words import (
    ROUGH,
    bounds,
    count,
    join_words,
    metric_title,
    metric_value,
    modality_title,
    per_cent,
    points,
    rough,
    typeset,
)


@dataclass(frozen=True)
class GridCell:
    """One cell as it is shown; what is not there is empty."""

    ours: str = ""
    interval: str = ""
    published: str = ""
    place: str = ""
    difference: str = ""


@dataclass(frozen=True)
class Grid:
    """A table in the paper's layout: the paper's own columns, then controls of ours."""

    papers: tuple[str, ...]
    controls: tuple[str, ...]
    rows: Sequence[tuple[str, Sequence[GridCell]]]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.papers + self.controls


@dataclass(frozen=True)
class Strip:
    """A contrast in words, and as an interval on an axis from -100 to 100."""

    name: str
    points: str
    p: str
    verdict: str
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Part:
    """One experiment, or one study."""

    anchor: str
    title: str
    about: str
    outcome: str
    grid: Grid | None
    drawn: Sequence[Picture]
    strips: Sequence[tuple[str, Sequence[Strip]]]
    """What is asked, and its contrasts."""
    reach: str
    """How far the strips' axis goes to either side, in points."""
    floors: Section | None
    notes: Sequence[str]
    curves: Sequence[Picture]
    pictures: Sequence[Picture]
    tables: Sequence[Section]


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
    missing: Sequence[str] = field(default=())
    """Pictures whose files are gone."""


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
            f"{folder} holds no results (plan.json, results.json); give a folder of mfl reproduce "
            "or mfl compare."
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
        _part(file, {s: results[p] for s, p in file.studies.items()}, folder)
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
    part = _part(file, {"results": results}, folder)
    train, test = data.patches.get("train", 0), data.patches.get("test", 0)
    return Page(
        command="mfl compare",
        title=f"Comparison: {file.title}",
        lede=f"{count(len(results.runs), 'run')} on {data.title}: {train:,} training and {test:,} "
        f"test patches at {data.side} px.",
        notice="",
        headlines=[],
        parts=[replace(part, notes=notes(results))],
        waiting=[],
        caveats=data.caveats,
        variance=_variance({"results": file}, {".": results}),
        departures=None,
        provenance=facts(None, [results]),
        runs=runs_table([results]),
    )


def _method(summary: Summary, results: Results) -> str:
    condition = summary.condition
    several = len(results.config.objectives) > 1
    if condition.arm == "supervised":
        return (
            f"supervised on {condition.objective}"
            if len(results.config.tasks) > 1
            else "supervised"
        )
    return f"{condition.objective} {condition.title}" if several else condition.title


def _part(file: ExperimentFile, results: Mapping[str, Results], folder: Path) -> Part:
    shown = [c for r in results.values() for c in r.contrasts] if file.cells else []
    ends = [abs(end) for c in shown for end in (c.difference.low, c.difference.high)]
    reach = max([0.01, *ends])
    verdicts: dict[str, int] = {}
    for contrast in shown:
        verdicts[contrast.verdict] = verdicts.get(contrast.verdict, 0) + 1
    outcome = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items())
    figures = [
        Picture(
            f"{place}/curves.svg",
            f"Learning curves, {name}: a ridge probe of frozen "
            "features on test patches against steps of training. Thin lines are seeds, thick "
            "ones their means.",
            "Lines of probe accuracy against training steps.",
        )
        for name, place in file.studies.items()
        if file.cells and (folder / place / "curves.svg").is_file()
    ]
    caveats = dict.fromkeys(c for r in results.values() for c in r.caveats)
    own = [c for c in caveats if all(c not in r.data.caveats for r in results.values())]
    return Part(
        anchor=file.name,
        title=typeset(file.title),
        about=typeset(file.about),
        outcome=outcome or count(len(file.pictures), "figure"),
        grid=_grid(file, results),
        drawn=file.drawn,
        strips=_strips(shown, results, reach),
        reach=f"{100 * reach:.0f}",
        floors=_floors(results) if file.cells else None,
        notes=[*_part_notes(file, results), *own] if file.cells else own,
        curves=figures,
        pictures=file.pictures,
        tables=[
            *(_metrics(results) if file.cells else []),
            *(Section(t.title, t.header, t.rows, t.notes) for t in file.tables),
        ],
    )


def _grid(file: ExperimentFile, results: Mapping[str, Results]) -> Grid | None:
    """The table; None where the experiment has no numbers."""
    if not file.cells:
        return None
    columns = list(dict.fromkeys(cell.column for cell in file.cells))
    papers = tuple(
        c for c in columns if any(f.column == c and f.published is not None for f in file.cells)
    )
    rows: dict[str, dict[str, GridCell]] = {}
    titles: dict[str, str] = {}
    for cell in file.cells:
        rows.setdefault(cell.row, {})[cell.column] = _cell(cell, results)
        if cell.note:
            titles[cell.row] = f"{cell.row} ({cell.note})"
    controls = tuple(column for column in columns if column not in papers)
    return Grid(
        papers,
        controls,
        [
            (typeset(titles.get(row, row)), [line.get(c, GridCell()) for c in papers + controls])
            for row, line in rows.items()
        ],
    )


def _cell(cell: CellFile, results: Mapping[str, Results]) -> GridCell:
    published = "" if cell.published is None else f"{100 * cell.published:.2f}"
    summary = _summary(cell, results)
    if summary is None:
        return GridCell("not run", "", published, cell.place)
    accuracy = summary.accuracy
    difference = "" if cell.published is None else points(accuracy.estimate - cell.published)
    ours = per_cent(accuracy.estimate) + (" *" if summary.head else "")
    return GridCell(ours, bounds(accuracy), published, cell.place, difference)


def _summary(cell: CellFile, results: Mapping[str, Results]) -> Summary | None:
    if cell.study is None:
        return None
    found = [s for s in results[cell.study].summaries if s.condition == cell.condition]
    return found[0] if found else None


def _strips(
    contrasts: Sequence[Contrast], results: Mapping[str, Results], reach: float
) -> list[tuple[str, list[Strip]]]:
    names = {id(c): name for name, r in results.items() for c in r.contrasts}
    groups: dict[str, list[Strip]] = {}
    for contrast in contrasts:
        a, of = contrast.a, contrast.difference
        where = [modality_title(a.modality, a.task), a.objective]
        where += [names[id(contrast)]] if len(results) > 1 else []
        low, middle, high = (round(100 * v / reach, 1) for v in (of.low, of.estimate, of.high))
        groups.setdefault(", ".join(where), []).append(
            Strip(
                typeset(contrast.name),
                f"{points(of.estimate)} {bounds(of, signed=True)}",
                p_value(contrast.holm_p),
                contrast.text,
                low,
                middle,
                high,
            )
        )
    return list(groups.items())


def _floors(results: Mapping[str, Results]) -> Section | None:
    """A row a task, modality and study; those that are equal in all studies stand once."""
    lines: dict[tuple[str, ...], list[str]] = {}
    names: dict[str, None] = {}
    for study, found in results.items():
        places: dict[str, dict[str, str]] = {}
        for summary in found.select(lambda c: c.floor):
            condition = summary.condition
            names[condition.arm] = None
            where = modality_title(condition.modality, condition.task)
            value = f"{per_cent(summary.accuracy.estimate)} {bounds(summary.accuracy)}"
            places.setdefault(where, {})[condition.arm] = value
        for where, row in places.items():
            lines.setdefault((where, *(row.get(n, "") for n in names)), []).append(study)
    if not lines:
        return None
    rows = [
        (where if len(studies) == len(results) else f"{where}, {', '.join(studies)}", *values)
        for (where, *values), studies in lines.items()
    ]
    note = (
        "majority: the commonest class; mean-rgb, colour-histogram: forests on these; random "
        "encoder: untrained, by the same probe."
    )
    title = "Floors: what needs no learnt representation"
    return Section(title, ("of", *names), rows, [note])


def _metrics(results: Mapping[str, Results]) -> list[Section]:
    """A row an encoder, a column a metric: whatever was registered, beside accuracy."""
    arms = [(name, s) for name, r in results.items() for s in r.select(lambda c: not c.floor)]
    metrics = dict.fromkeys(m for _, s in arms for m in s.means if m != "accuracy")
    rows = []
    for name, summary in arms:
        of = summary.condition
        words = [modality_title(of.modality, of.task), of.title, of.objective, of.partner]
        words += [name] if len(results) > 1 else []
        values = (metric_value(m, summary.means[m]) if m in summary.means else "" for m in metrics)
        rows.append((", ".join(filter(None, words)), *values))
    title = "Other metrics, means over seeds"
    return [Section(title, ("of", *map(metric_title, metrics)), rows)] if rows and metrics else []


def _part_notes(file: ExperimentFile, results: Mapping[str, Results]) -> Iterator[str]:
    first = next(iter(results.values()))
    accuracy = first.summaries[0].accuracy
    unit = "groups" if accuracy.unit == "group" else "patches"
    chance = " and seeds" if first.config.seeds > 1 else "; chance between seeds is not in it"
    yield (
        f"Accuracy on test patches in per cent, the mean of {count(first.config.seeds, 'seed')}, "
        f"in brackets the 95 % bootstrap interval over {count(accuracy.units, unit[:-1])}"
        f"{chance}."
    )
    if any(rough(s.accuracy) for r in results.values() for s in r.summaries):
        yield ROUGH
    if any(cell.published is not None for cell in file.cells):
        yield "Below it the paper's, of single runs, and Δ, ours less the paper's in points."
    if any(s.head for r in results.values() for s in r.summaries):
        yield "* answered by the encoder's own head; all others by a probe."
    yield TESTS.format(units=unit)
    rising = dict.fromkeys(
        f"{s.condition.title} on {modality_title(s.condition.modality)}"
        for r in results.values()
        for s in r.summaries
        if s.rising
    )
    if rising:
        yield f"Still rising when training ended: {'; '.join(rising)}. Train longer."
    yield from dict.fromkeys(note for r in results.values() for note in floor_notes(r))


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
        summaries = [s for cell in file.cells if (s := _summary(cell, found))]
        spread = [stdev(s.accuracies) for s in summaries if len(s.accuracies) > 1]
        if spread:
            row = (file.title, str(len(spread)), per_cent(median(spread)), per_cent(max(spread)))
            rows.append(row)
    if not rows:
        return []
    title = "Ours: standard deviation between seeds, in points"
    return [Section(title, ("experiment", "cells", "median", "largest"), rows)]
