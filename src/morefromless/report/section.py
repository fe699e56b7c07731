"""A table with its notes, for the terminal and for Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from morefromless.evaluation.intervals import Interval


@dataclass(frozen=True)
class Section:
    """A title, a header, rows of text, and what a reader must know to read them."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: list[str]

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", _piped(self.header)]
        lines += [_piped(["---", *["---:"] * (len(self.header) - 1)])]
        lines += [_piped(row) for row in self.rows]
        return "\n".join([*lines, "", *[f"- {note}" for note in self.notes], ""])

    def rich(self) -> Table:
        table = Table(title=self.title, title_justify="left", title_style="bold")
        for number, name in enumerate(self.header):
            table.add_column(name, justify="left" if number == 0 else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table


def interval(found: Interval, signed: bool = False) -> str:
    """In per cent or points: `86.5 [84.1, 88.9]`."""
    sign = "+" if signed else ""
    low, high = 100 * found.low, 100 * found.high
    return f"{100 * found.estimate:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
