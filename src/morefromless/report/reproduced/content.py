"""What the page holds, in the words that HTML and Markdown both show."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from morefromless.report.section import Section

LARGE = 400_000
"""Bytes above which a picture is shown as PNG: GradCAMs in an SVG are pixels all the same."""
PICTURES = {".svg": "image/svg+xml", ".png": "image/png"}
"""What a page can show."""
_KINDS = (".svg", ".png", ".pdf", ".csv")


@dataclass(frozen=True)
class Cell:
    """One cell of a table of the paper: what is not there is empty."""

    ours: str = ""
    """Mean accuracy in per cent, or `not run`."""
    interval: str = ""
    published: str = ""
    """In per cent."""
    place: str = ""
    """Where the published number stands, if in another table."""
    difference: str = ""
    """Ours less the published one, in points."""


@dataclass(frozen=True)
class Grid:
    """A table in the paper's layout: the paper's own columns, then controls of ours."""

    papers: tuple[str, ...]
    controls: tuple[str, ...]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    """A title and a cell a column."""
    notes: Sequence[str]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.papers + self.controls


@dataclass(frozen=True)
class Difference:
    """A contrast in words, and as a strip: its interval on an axis from -100 to 100."""

    name: str
    points: str
    p: str
    verdict: str
    strip: tuple[float, float, float]
    """Low, middle, high."""


@dataclass(frozen=True)
class Contrasts:
    """All of an experiment that are shown."""

    outcome: str
    """In a line: how many, and what came of them."""
    groups: Sequence[tuple[str, Sequence[Difference]]]
    """What is seen, and its contrasts."""
    reach: str
    """How far the strips' axis goes to either side, in points."""
    note: str


@dataclass(frozen=True)
class Picture:
    """A figure that lies in the folder; `path` is None where its file is gone."""

    path: str | None
    """Relative to the folder, `.svg` or `.png`."""
    name: str
    """What it is called where it is gone."""
    caption: str
    alt: str
    """What a reader who cannot see it should know of it."""
    files: dict[str, str]
    """Other forms of it: kind to address."""
    broad: bool
    """Whether it is drawn for wide screens, and scrolled on narrow ones."""


@dataclass(frozen=True)
class Part:
    """One experiment."""

    anchor: str
    title: str
    about: str
    outcome: str
    """In a line, for the list of contents."""
    grid: Grid | None
    drawn: Sequence[Picture]
    """Of the numbers."""
    contrasts: Contrasts | None
    floors: Section | None
    notes: Sequence[str]
    curves: Sequence[Picture]
    looks: Sequence[tuple[Sequence[Picture], Sequence[Section], Sequence[str]]]
    """Figures of representations, their tables, and how these are read."""


@dataclass(frozen=True)
class Page:
    """All of it."""

    title: str
    lede: str
    comparable: Literal["yes", "with care", "no"]
    """Whether columns of ours and of the paper may be compared."""
    notice: str
    headline: str
    """The paper's main question, answered; empty where Table 1 is not finished."""
    parts: Sequence[Part]
    waiting: Sequence[str]
    """Experiments that are planned and not finished, or left out, and why."""
    caveats: Sequence[str]
    chance: Sequence[Section]
    departures: Sequence[Section]
    ran: Section
    runs: Section


def picture(out: Path, path: str, caption: str, alt: str, broad: bool = False) -> Picture:
    """The figure at `path`, or the PNG beside it where that is large; gone where no picture is
    there or it is not in `out`."""
    file = out / path
    inside = file.resolve().is_relative_to(out.resolve())
    if not (inside and file.is_file() and file.suffix in PICTURES):
        return Picture(None, path, caption, alt, {}, broad)
    beside = {kind: file.with_suffix(kind) for kind in _KINDS}
    there = {kind: one for kind, one in beside.items() if one.is_file()}
    if file.stat().st_size > LARGE and ".png" in there:
        file = there[".png"]
    address = {
        kind[1:].upper(): quote(one.relative_to(out).as_posix()) for kind, one in there.items()
    }
    return Picture(file.relative_to(out).as_posix(), path, caption, alt, address, broad)
