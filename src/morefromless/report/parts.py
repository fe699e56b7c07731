"""One experiment on the page: its table in the paper's layout, contrasts, floors, notes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from morefromless.evaluation.results import Results, Summary
from morefromless.report.content import CellFile, ExperimentFile, Picture
from morefromless.report.notes import OWN_HEAD, TESTS, accuracy_note, floor_notes, unit_names
from morefromless.report.section import Section, p_value
from morefromless.report.words import (
    UNRELIABLE_NOTE,
    bounds,
    count,
    is_unreliable,
    metric_title,
    metric_value,
    modality_title,
    per_cent,
    points,
    typeset,
)


@dataclass(frozen=True)
class GridCell:
    """The texts of one cell; missing values are empty."""

    ours: str = ""
    interval: str = ""
    published: str = ""
    place: str = ""
    difference: str = ""


@dataclass(frozen=True)
class Grid:
    """A table in the paper's layout: the paper's columns, then our controls."""

    papers: tuple[str, ...]
    controls: tuple[str, ...]
    rows: Sequence[tuple[str, Sequence[GridCell]]]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.papers + self.controls


@dataclass(frozen=True)
class ContrastRow:
    """A contrast in words, and as an interval on an axis from -100 to 100."""

    name: str
    points: str
    p: str
    verdict: str
    remark: str
    """The text of the verdict column; the verdict if there is no remark."""
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class ExperimentSection:
    """One experiment, or one study."""

    anchor: str
    title: str
    about: str
    outcome: str
    grid: Grid | None
    drawn: Sequence[Picture]
    contrast_groups: Sequence[tuple[str, Sequence[ContrastRow]]]
    """Title of a group, and its contrasts."""
    axis_limit: str
    """How far the axis of the strips extends on either side, in points."""
    floors: Section | None
    notes: Sequence[str]
    curves: Sequence[Picture]
    pictures: Sequence[Picture]
    tables: Sequence[Section]


def build_experiment_section(
    file: ExperimentFile, results: Mapping[str, Results], folder: Path
) -> ExperimentSection:
    """Build a part from the results of its studies, by name; `folder` is the report's."""
    numeric_results = results if file.cells else {}  # figures of representations have none
    contrasts = [c for r in numeric_results.values() for c in r.contrasts]
    ends = [abs(end) for c in contrasts for end in (c.difference.low, c.difference.high)]
    axis_limit = max([0.01, *ends])
    verdicts = Counter(contrast.verdict for contrast in contrasts)
    outcome = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items())
    figures = [
        Picture(
            f"{place}/curves.svg",
            f"Learning curves, {name}: accuracy of a ridge probe on frozen features of the test "
            "patches, against training steps. Thin lines are seeds, thick lines their means.",
            "Lines of probe accuracy against training steps.",
        )
        for name, place in file.studies.items()
        if name in numeric_results and (folder / place / "curves.svg").is_file()
    ]
    caveats = dict.fromkeys(c for r in results.values() for c in r.caveats)
    study_caveats = [c for c in caveats if all(c not in r.data.caveats for r in results.values())]
    return ExperimentSection(
        anchor=file.name,
        title=typeset(file.title),
        about=typeset(file.about),
        outcome=outcome or count(len(file.pictures), "figure"),
        grid=_grid(file, results),
        drawn=file.drawn,
        contrast_groups=_contrast_groups(numeric_results, axis_limit),
        axis_limit=per_cent(axis_limit),
        floors=_floors(numeric_results),
        notes=[*(_experiment_notes(file, results) if numeric_results else []), *study_caveats],
        curves=figures,
        pictures=file.pictures,
        tables=[*_metrics(numeric_results), *file.tables],
    )


def _grid(file: ExperimentFile, results: Mapping[str, Results]) -> Grid | None:
    """The table, or None if the experiment has no numbers."""
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
    summary = summary_of(cell, results)
    if summary is None:
        return GridCell("not run", "", published, cell.place)
    accuracy = summary.accuracy
    difference = "" if cell.published is None else points(accuracy.estimate - cell.published)
    ours = per_cent(accuracy.estimate) + (" *" if summary.head else "")
    return GridCell(ours, bounds(accuracy), published, cell.place, difference)


def summary_of(cell: CellFile, results: Mapping[str, Results]) -> Summary | None:
    """The summary that a cell shows, or None if it was not run."""
    if cell.study is None:
        return None
    summaries = results[cell.study].summaries
    return next((s for s in summaries if s.condition == cell.condition), None)


def _contrast_groups(
    results: Mapping[str, Results], axis_limit: float
) -> list[tuple[str, list[ContrastRow]]]:
    groups: dict[str, list[ContrastRow]] = {}
    for name, contrast in ((name, c) for name, r in results.items() for c in r.contrasts):
        a, interval = contrast.a, contrast.difference
        where = [modality_title(a.modality, a.task), a.objective]
        where += [name] if len(results) > 1 else []
        low, middle, high = (
            round(100 * v / axis_limit, 1) for v in (interval.low, interval.estimate, interval.high)
        )
        groups.setdefault(", ".join(where), []).append(
            ContrastRow(
                typeset(contrast.name),
                f"{points(interval.estimate)} {bounds(interval, signed=True)}",
                p_value(contrast.holm_p),
                contrast.verdict,
                contrast.text,
                low,
                middle,
                high,
            )
        )
    return list(groups.items())


def _floors(results: Mapping[str, Results]) -> Section | None:
    """One row per task, modality and study; equal rows of several studies are merged."""
    lines: dict[tuple[str, ...], list[str]] = {}
    floors = {study: result.select(lambda c: c.floor) for study, result in results.items()}
    names = tuple(dict.fromkeys(s.condition.arm for some in floors.values() for s in some))
    for study, summaries in floors.items():
        places: dict[str, dict[str, str]] = {}
        for summary in summaries:
            condition = summary.condition
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
        "majority: the most frequent class; mean-rgb, colour-histogram: random forests on these "
        "features; random encoder: an untrained encoder with the same probe."
    )
    title = "Floors: methods without a learnt representation"
    return Section(title, ("of", *names), rows, [note])


def _metrics(results: Mapping[str, Results]) -> list[Section]:
    """One row per encoder and one column per registered metric, except accuracy."""
    arms = [(name, s) for name, r in results.items() for s in r.select(lambda c: not c.floor)]
    metrics = dict.fromkeys(m for _, s in arms for m in s.means if m != "accuracy")
    rows = []
    for name, summary in arms:
        condition = summary.condition
        words = [
            modality_title(condition.modality, condition.task),
            condition.title,
            condition.objective,
            condition.partner,
        ]
        words += [name] if len(results) > 1 else []
        values = (metric_value(m, summary.means[m]) if m in summary.means else "" for m in metrics)
        rows.append((", ".join(filter(None, words)), *values))
    title = "Other metrics, means over seeds"
    return [Section(title, ("of", *map(metric_title, metrics)), rows)] if rows and metrics else []


def _experiment_notes(file: ExperimentFile, results: Mapping[str, Results]) -> Iterator[str]:
    first = next(iter(results.values()))
    summaries = [s for r in results.values() for s in r.summaries]
    yield accuracy_note(first.config.seeds, summaries)
    if any(is_unreliable(s.accuracy) for s in summaries):
        yield UNRELIABLE_NOTE
    if any(cell.published is not None for cell in file.cells):
        yield "Below it the paper's, of single runs, and Δ: ours minus the paper's, in points."
    if any(s.head for s in summaries):
        yield OWN_HEAD
    yield TESTS.format(units=unit_names(summaries))
    rising = dict.fromkeys(
        f"{r.name(s.condition, modality_title)} on {modality_title(s.condition.modality)}"
        for r in results.values()
        for s in r.summaries
        if s.rising
    )
    if rising:
        yield f"Still rising when training ended: {'; '.join(rising)}. Train longer."
    yield from dict.fromkeys(note for r in results.values() for note in floor_notes(r))
