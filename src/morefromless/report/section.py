"""A report: tables with their notes, for the terminal, Markdown, CSV and JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from morefromless.data import atomic
from morefromless.evaluation.intervals import Interval

TESTS = (
    "A difference's 95 % interval is Student's, over seeds and test {units}. p is the larger of "
    "two: that t test's, and an exact sign-flip test's of the same test patches; Holm-corrected "
    "for all contrasts shown. Better or worse is said only where it is below 0.05; then the "
    "interval excludes zero. With one seed of either arm there is no verdict: what is said then "
    "holds for these encoders, not for the ways of training."
)

FEW_GROUPS = 8
ROUGH = (
    f"† Rough: fewer than {FEW_GROUPS} groups, or an interval of width 0, whose chance no test "
    "patch has shown."
)


def curves_note(rising: Sequence[str], drawn: bool, known: bool) -> str:
    """What learning curves tell of the arms: `rising` names those that still rose at the end."""
    if not drawn:
        return (
            "No learning curves were drawn (--probe-every), so whether the arms had finished "
            "rising is not known."
        )
    if not known:
        return (
            "The learning curves have fewer than 8 points, too few to tell whether the arms had "
            "finished rising; give a lower --probe-every."
        )
    if rising:
        return (
            f"Still rising when training ended: {'; '.join(dict.fromkeys(rising))}. Train longer "
            "before comparing these."
        )
    return "No arm's learning curve was still rising when training ended."


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


@dataclass(frozen=True)
class Report:
    """One content in every form."""

    title: str
    sections: list[Section]
    notes: list[str]
    """What holds for all the tables: data, protocol, and what they do not show."""
    lines: pd.DataFrame
    """Long form: a line a seed."""
    everything: dict[str, Any]

    def write(self, folder: Path, stem: str) -> list[Path]:
        """`STEM.md`, `.csv` (the lines) and `.json` (everything) in `folder`."""
        parts = [f"# {self.title}", "", *(section.markdown() for section in self.sections)]
        parts += ["### What these tables say", "", *(f"- {note}" for note in self.notes), ""]
        paths = [folder / f"{stem}.{kind}" for kind in ("md", "csv", "json")]
        atomic.write_text(paths[0], "\n".join(parts))
        atomic.write_text(paths[1], self.lines.to_csv(index=False))
        atomic.write_text(paths[2], json.dumps(self.everything, indent=1, default=str))
        return paths

    def show(self, console: Console) -> None:
        """The tables and notes in the terminal."""
        for section in self.sections:
            console.print(section.rich())
            for note in section.notes:
                console.print(f"  {note}", style="dim")
            console.print()
        for note in self.notes:
            console.print(f"- {note}")


def interval(found: Interval, signed: bool = False) -> str:
    """In per cent or points: `86.5 [84.1, 88.9]`, with † where it is rough."""
    sign = "+" if signed else ""
    low, high = 100 * found.low, 100 * found.high
    mark = " †" if rough(found) else ""
    return f"{100 * found.estimate:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]{mark}"


def rough(found: Interval) -> bool:
    """Whether an interval says less than its width: few groups, or no chance seen at all."""
    few = found.unit == "group" and found.units < FEW_GROUPS
    return few or found.low == found.high


def rough_note(sections: Sequence[Section]) -> list[str]:
    """What the mark means, where one is in these tables."""
    cells = (cell for section in sections for row in section.rows for cell in row)
    return [ROUGH] if any("†" in cell for cell in cells) else []


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
