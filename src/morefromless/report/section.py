"""Reports of tables and notes, for the terminal, Markdown and LaTeX."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from morefromless import files
from morefromless.evaluation.contrasts import ALPHA
from morefromless.evaluation.intervals import Interval
from morefromless.report.terminal import say, show_table
from morefromless.report.words import UNRELIABLE_NOTE, bounds, markdown_text, per_cent, points


@dataclass(frozen=True)
class Section:
    """A table: title, header, rows of text, and notes."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """The table as GitHub Markdown."""
        lines = [f"### {markdown_text(self.title)}", ""] if self.title else []
        lines += [_row(self.header), f"| --- |{' ---: |' * (len(self.header) - 1)}"]
        lines += [_row(row) for row in self.rows]
        return "\n".join([*lines, "", *[f"- {markdown_text(note)}" for note in self.notes], ""])

    def latex(self) -> str:
        """The table for LaTeX, with the package booktabs."""
        frame = pd.DataFrame([*self.rows], columns=[*self.header])
        escaped = frame.map(_latex_text).rename(columns=_latex_text)
        columns = "l" + "r" * (len(self.header) - 1)
        return escaped.to_latex(index=False, column_format=columns, caption=_latex_text(self.title))

    def show(self) -> None:
        """Print the table and its notes in the terminal."""
        show_table(self.title, self.header, self.rows)
        for note in self.notes:
            say(f"  {note}", style="dim")


@dataclass(frozen=True)
class Report:
    """Tables and notes, with one method per output format."""

    title: str
    sections: Sequence[Section]
    notes: Sequence[str]
    """Notes on all tables: data, protocol and limits."""

    def write(self, path: Path) -> Path:
        """Write the report as Markdown to `path`."""
        blocks = [f"# {markdown_text(self.title)}", ""]
        blocks += [section.markdown() for section in self.sections]
        notes = [f"- {markdown_text(note)}" for note in self.notes]
        blocks += ["### About these tables", "", *notes, ""]
        files.write_text(path, "\n".join(blocks))
        return path

    def latex(self) -> str:
        """The tables for LaTeX (booktabs), with the notes as comments."""
        notes = (f"% {' '.join(note.split())}" for note in self.notes)
        return "\n".join([*(section.latex() for section in self.sections), *notes, ""])

    def show(self) -> None:
        """Print the tables and notes in the terminal."""
        for section in self.sections:
            section.show()
            say()
        for note in self.notes:
            say(f"- {note}")


def fill_blocks(text: str, blocks: Mapping[str, str]) -> str:
    """Replace the text of a page between `<!-- NAME -->` and `<!-- end -->`.

    Blocks that the page does not have are skipped.

    >>> fill_blocks("Prose. <!-- cost -->old<!-- end --> More.", {"cost": "new", "time": "none"})
    'Prose. <!-- cost -->\\n\\nnew\\n\\n<!-- end --> More.'
    """
    for name, content in blocks.items():
        before, start, rest = text.partition(f"<!-- {name} -->")
        if start:
            after = rest.partition("<!-- end -->")[2]
            text = f"{before}{start}\n\n{content}\n\n<!-- end -->{after}"
    return text


def interval(value: Interval, signed: bool = False) -> str:
    """Format an estimate with its interval in per cent or points, with † if it is rough.

    >>> interval(Interval(0.865, 0.841, 0.889, 0.95, "patch", 400, True, 2000))
    '86.5 [84.1, 88.9]'
    """
    estimate = points(value.estimate) if signed else per_cent(value.estimate)
    return f"{estimate} {bounds(value, signed)}"


LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "×": r"$\times$",
    "µ": r"\textmu{}",
    "†": r"\dag{}",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def _latex_text(text: str) -> str:
    """Escape text for LaTeX.

    >>> _latex_text("a_b & −1")
    'a\\\\_b \\\\& $-$1'
    """
    return "".join(LATEX_ESCAPES.get(sign, sign) for sign in " ".join(text.split()))


def unreliable_note(sections: Sequence[Section]) -> list[str]:
    """The note that explains †, if the mark is in these tables."""
    cells = (cell for section in sections for row in section.rows for cell in row)
    return [UNRELIABLE_NOTE] if any("†" in cell for cell in cells) else []


def p_value(p: float) -> str:
    """Format p with three decimals.

    Show an upper bound instead if they would all be 0, or would hide that p is below `ALPHA`.

    >>> p_value(0.0004), p_value(0.0312), p_value(0.0497)
    ('< 0.001', '0.031', '< 0.050')
    """
    if p < 0.001:
        return "< 0.001"
    return f"< {ALPHA:.3f}" if p < ALPHA <= round(p, 3) else f"{p:.3f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(markdown_text, cells))} |"
