"""Print text and tables: fitted to a terminal, or tab-separated if a program reads them."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from morefromless.errors import first_few


def terminal() -> Console:
    """A console on standard output that does not colour numbers and names."""
    return Console(highlight=False, markup=False, emoji=False)


def say(text: str = "", style: str = "") -> None:
    """Print a line of text: wrapped by word in a terminal, unwrapped if a program reads it."""
    console = terminal()
    if console.is_terminal:
        console.print(Text(text), style=style)
    else:
        print(text, file=console.file, flush=True)  # rich would turn tabs into spaces


def shell_quote(word: Path | str) -> str:
    """Quote a path or another word for the shell.

    >>> shell_quote("my stores/a")
    "'my stores/a'"
    """
    return shlex.quote(str(word))


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table.

    Columns at the right that do not fit a terminal are skipped, and their names are printed. If
    fewer than `MIN_COLUMNS` columns fit, each row is printed as a list. A dumb terminal, which
    screen readers use, also gets lists, so that every number is read out with its name."""
    console = terminal()
    if title:
        say(title, style="bold")
    if not console.is_terminal:
        for row in (header, *rows):
            say("\t".join(" ".join(cell.split()) for cell in row))
        return
    widths = _widths(header, rows, console.width)
    if console.is_dumb_terminal or len(widths) < min(MIN_COLUMNS, len(header)):
        for first, *others in rows:
            say(first)
            for name, cell in zip(header[1:], others, strict=True):
                if cell:
                    say(f"  {name}: {cell}")
        return
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, COLUMN_GAP - 1, 0, 0),
        show_edge=False,
    )
    for number, (name, width) in enumerate(zip(header, widths, strict=False)):
        justify = "right" if number and _numeric(rows, number) else "left"
        table.add_column(Text(name), width=width, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(cell) for cell in row[: len(widths)]))
    console.print(table)
    if absent := header[len(widths) :]:
        say(f"Columns that do not fit: {', '.join(absent)}.", style="dim")


def show_written(paths: Sequence[Path]) -> None:
    """Print which files were written, the first few by name."""
    say(f"Wrote {first_few(paths, 5)}.")


NUMBER_PATTERN = re.compile(r"[-\d\s.,\[\]+−<±†*]*")
MIN_COLUMNS = 3
COLUMN_GAP = 2
"""Spaces between two columns."""


def _widths(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Widths of the columns that fit, from the left, without breaking words or numbers."""
    columns = [[name, *(row[n] for row in rows)] for n, name in enumerate(header)]
    max_widths = [max(map(cell_len, cells)) for cells in columns]
    min_widths = [
        max(
            cell_len(part)
            for cell in cells
            for part in ([cell] if NUMBER_PATTERN.fullmatch(cell) else cell.split())
        )
        for cells in columns
    ]
    min_widths[0] = min(min_widths[0], max(8, width // 2))  # a name of 60 characters is broken
    count = len(columns)
    while count > 1 and sum(min_widths[:count]) + COLUMN_GAP * count > width:
        count -= 1
    min_widths, spare = min_widths[:count], width - sum(min_widths[:count]) - COLUMN_GAP * count
    for _ in range(spare):  # widen the column that has the most lines
        widest = max(range(count), key=lambda n: max_widths[n] / max(1, min_widths[n]))
        min_widths[widest] += max_widths[widest] > min_widths[widest]
    return min_widths


def _numeric(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Whether every cell of a column is empty or starts like a number."""
    return all(NUMBER_PATTERN.fullmatch(row[column][:1]) for row in rows)
