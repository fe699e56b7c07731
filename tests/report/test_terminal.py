"""Tables in a terminal of any width, without colour, and for a program that reads them."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from morefromless.report import tables
from morefromless.report.section import Section
from morefromless.report.terminal import show_table, show_written
from tests.report.handmade import results


def render_table(width: int, *table: object, terminal: bool = True) -> str:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, markup=False
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("morefromless.report.terminal.terminal", lambda: console)
        show_table(*table)  # type: ignore[arg-type]
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


ARMS = tables.report(results()).sections[0]
WIDE = Section(
    "30 classes",
    ("of", *(f"class-{n}" for n in range(30))),
    [("asymmetric, independent", *["90.2 [88.6, 91.7]"] * 30)],
)


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("section", [ARMS, WIDE], ids=lambda section: section.title)
def test_no_word_is_broken(section: Section, width: int) -> None:
    text = render_table(width, section.title, section.header, section.rows)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    words = set(text.replace(",", " ").replace(":", " ").split())
    for row in section.rows:
        assert set(row[0].replace(",", " ").replace(":", " ").split()) <= words
    for number, name in enumerate(section.header):  # each is shown, or named as skipped
        assert number == 0 or name in text or not any(row[number] for row in section.rows)
    for cell in (section.rows[0][1], section.rows[-1][1]):
        assert cell in text  # a number and its interval are on one line


def test_matrix_fits_because_its_header_is_wrapped() -> None:
    arms = [
        f"{arm}, {sharing}" for arm in ("asymmetric", "symmetric") for sharing in ("shared", "own")
    ]
    title = "CKA of the last layer, of every two arms of this study of which there are many more"
    text = render_table(80, title, ("arm", *arms), [(arm, *["0.74 ± 0.01"] * 4) for arm in arms])
    assert "Left out" not in text
    assert text.count("0.74 ± 0.01") == 16
    assert " ".join(text.split()).startswith(title)


def test_text_columns_share_the_width() -> None:
    words = "no difference could be shown with three test groups"
    text = render_table(60, "", ("contrast", "points", "verdict"), [(words, "+2.2", words)])
    assert len(text.splitlines()) == 2 + 3


def test_a_narrow_terminal_gets_lists() -> None:
    text = render_table(40, ARMS.title, ARMS.header, ARMS.rows)
    assert "asymmetric, shared\n  accuracy: 79.0 [77.0, 81.0]\n" in text


def test_a_dumb_terminal_gets_lists_at_any_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """A screen reader reads each number with its name."""
    monkeypatch.setenv("TERM", "dumb")
    text = render_table(200, ARMS.title, ARMS.header, ARMS.rows)
    assert "asymmetric, shared\n  accuracy: 79.0 [77.0, 81.0]\n" in text


def test_program_gets_complete_lines_with_tabs() -> None:
    lines = render_table(80, ARMS.title, ARMS.header, ARMS.rows, terminal=False).splitlines()
    assert lines[0] == ARMS.title
    assert [line.split("\t") for line in lines[1:]] == [[*ARMS.header], *map(list, ARMS.rows)]


@pytest.mark.parametrize("name", ["x" * 60, "<b>[red]&\"'", "نسيج", "a\nb"])
def test_names_of_any_kind_are_shown(name: str) -> None:
    for width in (40, 80):
        text = render_table(width, "t", ("of", "recall"), [(name, "90.0"), ("other", "1.0")])
        assert "".join(name.split()) in "".join(text.replace("90.0", "").split())


def test_ascii_terminal_gets_no_box_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.BytesIO()
    file = io.TextIOWrapper(output, encoding="ascii", errors="strict")
    console = Console(file=file, width=80, force_terminal=True)
    monkeypatch.setattr("morefromless.report.terminal.terminal", lambda: console)
    show_table("title", ("arm", "accuracy", "seeds"), [("symmetric", "90.2 [88.6, 91.7]", "3")])
    file.flush()
    assert b"symmetric" in output.getvalue()


def test_at_most_five_paths_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    show_written([Path(f"{n}.svg") for n in range(9)])
    text = " ".join(capsys.readouterr().out.split())
    assert text == "Wrote 0.svg, 1.svg, 2.svg, 3.svg, 4.svg and 4 more."
