"""An experiment's numbers in the paper's layout, with the published ones that it did not run."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import stdev

from morefromless.experiments import Number, table1, table_s2
from morefromless.report.reproduced.content import Cell, Grid
from morefromless.report.reproduced.left import Finished
from morefromless.report.reproduced.wording import (
    bounds,
    counted,
    per_cent,
    points,
    published,
    typeset,
)

FEW_GROUPS = 20
"""Below so many groups (patients) an interval is rough (`evaluation.intervals`)."""

WHOLE = "whole patch"
"""The row of Table 1 that is not down-sampled."""
PAPERS = {
    "table1": ("asymmetric, independent", "symmetric, shared", "supervised"),
    "table-s2": tuple(
        f"{seen}: {arm}"
        for seen in ("down-sampled", "full")
        for arm in ("asymmetric", "symmetric", "supervised")
    ),
}
"""The paper's columns, in its order, of tables of which rows may be left out."""


def grid(found: Finished, comparable: bool) -> Grid | None:
    """The table; None where the experiment has no numbers."""
    if not found.numbers:
        return None
    place = found.title.partition(":")[0]
    columns = list(dict.fromkeys(n.column for n in found.numbers))
    own = {n.column for n in found.numbers if n.place == place}
    cells = {(n.row, n.column): _cell(n, place) for n in found.numbers}
    rows = list(dict.fromkeys(n.row for n in found.numbers))
    for row, told in _not_run(found.name, rows):
        rows.append(row)
        cells |= {
            (row, column): Cell(ours="not run", published=published(value))
            for column, value in told.items()
        }
    if found.name == "table1":
        rows.sort(key=lambda row: (row == WHOLE, side(row)), reverse=True)
    papers = tuple(column for column in columns if column in own)
    controls = tuple(column for column in columns if column not in own)
    return Grid(
        papers,
        controls,
        [(typeset(r), [cells.get((r, c), Cell()) for c in papers + controls]) for r in rows],
        _notes(found, comparable),
    )


def side(row: str) -> int:
    """Of a row of Table 1, in px; of the whole patch the paper's 224."""
    return 224 if row == WHOLE else int(row.partition(" ")[0])


def deviations(found: Finished) -> list[float]:
    """Standard deviation between the seeds of each cell that has several."""
    return [stdev(n.seeds) for n in found.numbers if len(n.seeds) > 1]


def _not_run(name: str, rows: Sequence[str]) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Rows that the paper's Table 1 or S2 has and `rows` lacks: column to published number."""
    told: dict[str, tuple[float, ...]] = {}
    if name == "table1":
        ran = {side(row) for row in rows}
        told = {f"{px} x {px} px": v for px, v in table1.PUBLISHED.items() if px not in ran}
    elif name == "table-s2":
        encoders = {row.partition(" (")[0] for row in rows}
        told = {title: v for title, v in table_s2.PUBLISHED.items() if title not in encoders}
    for row, values in told.items():
        yield row, dict(zip(PAPERS[name], values, strict=True))


def _cell(number: Number, place: str) -> Cell:
    ours = per_cent(number.ours.estimate), bounds(number.ours)
    if number.published is None:
        return Cell(*ours)
    return Cell(
        *ours,
        published(number.published),
        "" if number.place == place else number.place,
        points(number.ours.estimate - number.published),
    )


def _notes(found: Finished, comparable: bool) -> list[str]:
    ours = found.numbers[0].ours
    seeds = max(len(n.seeds) for n in found.numbers)
    of = "a single run" if seeds == 1 else f"the mean of {seeds} runs (seeds)"
    over = f"{counted(ours.units, ours.unit)}" if ours.unit == "group" else "test patches"
    chance = " and seeds" if ours.includes_seeds else "; chance between seeds is not in it"
    rough = ours.unit == "group" and ours.units < FEW_GROUPS
    said = (
        f"Accuracy on test patches in per cent: {of}, in brackets the {100 * ours.level:.0f} % "
        f"bootstrap interval over {over}{chance}"
        + (", rough with so few groups." if rough else ".")
    )
    if any(n.published is not None for n in found.numbers):
        said += " Below it the paper's, of single runs, and Δ, ours less the paper's in points"
        said += "." if comparable else ", which is of another scale or data and says little."
    return [said]
