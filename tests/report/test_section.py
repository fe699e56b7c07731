"""The format of numbers in tables, and the escaping of names in every output format."""

from pathlib import Path

import numpy as np
import pytest

from morefromless.evaluation.intervals import Interval, Unit
from morefromless.evaluation.paired import difference
from morefromless.report.section import Report, Section, interval, p_value, unreliable_note
from morefromless.report.words import UNRELIABLE_NOTE, metric_value
from tests.report.handmade import HOSTILE


def make_interval(low: float, high: float, unit: Unit = "group", units: int = 30) -> Interval:
    return Interval((low + high) / 2, low, high, 0.95, unit, units, True, 2000)


def test_intervals_are_in_per_cent_and_differences_have_signs() -> None:
    assert interval(make_interval(0.8, 0.9)) == "85.0 [80.0, 90.0]"
    assert interval(make_interval(-0.01, 0.03), signed=True) == "+1.0 [−1.0, +3.0]"
    assert interval(make_interval(-0.0004, 0.0004), signed=True) == "0.0 [−0.0, +0.0]"
    assert interval(make_interval(0.0, 0.0), signed=True) == "0.0 [0.0, 0.0] †"
    assert [metric_value("cohen_kappa", value) for value in (-0.0001, -0.12)] == ["0.000", "−0.120"]
    assert [p_value(p) for p in (0.0005, 0.0491, 1.0)] == ["< 0.001", "0.049", "1.000"]
    assert [p_value(p) for p in (0.0499, 0.0501)] == [
        "< 0.050",
        "0.050",
    ]  # significant, and not significant


def test_width_0_is_recognised_despite_rounding() -> None:
    right = np.arange(37) < 25
    same = difference([right] * 3, [right] * 3).interval  # of the mean of three times 25/37
    assert 0 < same.high - same.low < 1e-12
    assert interval(same, signed=True) == "0.0 [0.0, 0.0] †"


@pytest.mark.parametrize(
    ("bounded", "marked"),
    [
        (make_interval(0.8, 0.9, units=7), True),
        (make_interval(0.8, 0.9, units=8), False),
        (make_interval(0.8, 0.9, unit="patch", units=7), False),
        (make_interval(0.8, 0.8), True),
    ],
)
def test_unreliable_intervals_are_marked_and_explained(bounded: Interval, marked: bool) -> None:
    cell = interval(bounded)
    assert cell.endswith("†") == marked
    tables = [Section("title", ("arm", "accuracy"), [("one", cell)], [])]
    assert unreliable_note(tables) == ([UNRELIABLE_NOTE] if marked else [])


def test_names_are_literal_in_markdown_and_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    section = Section(HOSTILE, ("arm", HOSTILE), [(HOSTILE, "1")], [HOSTILE])
    report = Report(HOSTILE, [section], [HOSTILE])
    text = report.write(tmp_path / "report.md").read_text()
    assert "](http" not in text
    assert [
        line.replace("\\|", "").count("|") for line in text.splitlines() if line[:1] == "|"
    ] == [
        3,
        3,
        3,
    ]
    report.show()
    assert capsys.readouterr().out.count(HOSTILE) == 5
