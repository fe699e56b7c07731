"""How numbers are written in tables, and what is said of curves and rough intervals."""

import pytest

from morefromless.evaluation.intervals import Interval, Unit
from morefromless.report.section import (
    ROUGH,
    Section,
    curves_note,
    interval,
    p_value,
    rough_note,
)


def reached(low: float, high: float, unit: Unit = "group", units: int = 30) -> Interval:
    return Interval((low + high) / 2, low, high, 0.95, unit, units, True, 2000)


def test_intervals_are_in_per_cent_and_differences_have_signs() -> None:
    assert interval(reached(0.8, 0.9)) == "85.0 [80.0, 90.0]"
    assert interval(reached(-0.01, 0.03), signed=True) == "+1.0 [-1.0, +3.0]"
    assert [p_value(p) for p in (0.0005, 0.0499, 1.0)] == ["< 0.001", "0.050", "1.000"]


@pytest.mark.parametrize(
    ("found", "marked"),
    [
        (reached(0.8, 0.9, units=7), True),
        (reached(0.8, 0.9, units=8), False),
        (reached(0.8, 0.9, unit="patch", units=7), False),
        (reached(0.8, 0.8), True),
    ],
)
def test_rough_intervals_are_marked_and_the_mark_is_explained(
    found: Interval, marked: bool
) -> None:
    cell = interval(found)
    assert cell.endswith("†") == marked
    tables = [Section("title", ("arm", "accuracy"), [("one", cell)], [])]
    assert rough_note(tables) == ([ROUGH] if marked else [])


def test_curves_that_were_drawn_are_not_denied() -> None:
    assert "were drawn" in curves_note([], drawn=False, known=False)
    assert "fewer than 8 points" in curves_note([], drawn=True, known=False)
    assert "Still rising when training ended: a." in curves_note(["a", "a"], drawn=True, known=True)
    assert "No arm's" in curves_note([], drawn=True, known=True)
