"""The page as GitHub Markdown, figures by relative path."""

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from morefromless.report.reproduced.content import Cell, Grid, Page, Part, Picture
from morefromless.report.section import Section


def markdown(page: Page) -> str:
    """All of the page but its addresses within."""
    return "\n".join(
        [*_top(page), *(line for one in page.parts for line in _part(one)), *_end(page)]
    )


def escaped(text: str) -> str:
    """Text that means itself: no markup, no cell's end, no new line."""
    text = re.sub(r"([\\`*|<]|(?<=\])\()", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)


def _top(page: Page) -> Iterator[str]:
    yield from (f"# {escaped(page.title)}", "", escaped(page.lede), "")
    yield from (f"> **{escaped(page.notice)}**", "")
    if page.headline:
        yield from (escaped(page.headline), "")
    outcomes = [f"{one.title}: {one.outcome}" if one.outcome else one.title for one in page.parts]
    yield from _list([*outcomes, *page.waiting])
    if page.caveats:
        yield from ("To be borne in mind:", "")
        yield from _list(page.caveats)


def _end(page: Page) -> Iterator[str]:
    yield from ("## How far chance goes", "")
    yield from map(_section, page.chance)
    yield from ("## What differs from the paper", "")
    yield from map(_section, page.departures)
    yield from ("## What was run", "", _section(page.ran))
    yield from ("<details><summary>Every run</summary>", "", _section(page.runs), "</details>", "")


def _part(part: Part) -> Iterator[str]:
    yield from (f"## {escaped(part.title)}", "", escaped(part.about), "")
    if part.grid:
        yield from _grid(part.grid)
    for one in part.drawn:
        yield from _picture(one)
    if part.contrasts:
        rows = [
            (one.name, where, one.points, one.p, one.verdict)
            for where, some in part.contrasts.groups
            for one in some
        ]
        header = ("contrast", "on", "points", "p (Holm)", "verdict")
        yield _section(Section("Contrasts", header, rows, [part.contrasts.note]))
    if part.floors:
        yield _section(part.floors)
    yield from _list(part.notes)
    for one in part.curves:
        yield from _picture(one)
    for pictures, sections, notes in part.looks:
        for one in pictures:
            yield from _picture(one)
        yield from map(_section, sections)
        yield from _list(notes)


def _grid(grid: Grid) -> Iterator[str]:
    marked = [*grid.papers, *(f"{column} (control)" for column in grid.controls)]
    header = ("", *(marked if grid.papers else grid.columns))
    yield f"| {' | '.join(map(escaped, header))} |"
    yield f"| --- |{' ---: |' * len(grid.columns)}"
    for title, cells in grid.rows:
        yield f"| {' | '.join([escaped(title), *map(_cell, cells)])} |"
    yield ""
    yield from _list(grid.notes)


def _cell(cell: Cell) -> str:
    ours = f"{cell.ours} {escaped(cell.interval)}".strip()
    if not cell.published:
        return ours
    place = f" ({escaped(cell.place)})" if cell.place else ""
    less = f", Δ {cell.difference}" if cell.difference else ""
    return f"{ours}<br>paper {cell.published}{place}{less}"


def _section(section: Section) -> str:
    made = Section(
        escaped(section.title),
        tuple(map(escaped, section.header)),
        [tuple(map(escaped, row)) for row in section.rows],
        list(map(escaped, section.notes)),
    ).markdown()
    return made if section.title else made.partition("\n\n")[2]


def _picture(picture: Picture) -> Iterator[str]:
    if picture.path is None:
        yield from (f"*{escaped(gone(picture))}*", "")
    else:
        yield from (f"![{escaped(picture.alt)}]({quote(picture.path)})", "")
        yield from (f"*{escaped(picture.caption)}*", "")


def gone(picture: Picture) -> str:
    """What stands in the place of a figure that was removed."""
    return f"The figure {picture.name} is gone; run mfl reproduce again, which draws it anew."


def _list(lines: Iterable[str]) -> list[str]:
    return [*(f"- {escaped(line)}" for line in lines), ""]
