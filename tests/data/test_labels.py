"""Names that look the same are merged or rejected."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morefromless.data.labels import (
    NotText,
    cell_text,
    check_spellings,
    drop_zero_fraction,
    normal_name,
)
from morefromless.errors import DataError
from morefromless.sources import Item


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        (pd.NA, ""),
        (pd.NaT, ""),
        (float("nan"), ""),
        (np.float64(3), "3"),
        (0.5, "0.5"),
        (np.float32(2), "2"),
        (np.float32("nan"), ""),
        (2**63 + 1, "9223372036854775809"),
        (True, "True"),
        (np.int8(4), "4"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
    ],
)
def test_cells_become_text(cell: object, text: str) -> None:
    assert cell_text(cell) == text
    assert not isinstance(cell_text(cell), NotText)


@pytest.mark.parametrize("cell", [[1], (1,), b"TUM", {"a": 1}, np.array([1, 2]), 2.0**63])
def test_cells_that_are_not_names_are_marked(cell: object) -> None:
    assert isinstance(cell_text(cell), NotText)


def test_equivalent_names_are_merged() -> None:
    assert normal_name("ade\u0301nome") == normal_name("ad\u00e9nome")
    assert normal_name("\ufeffTUM\u200b") == normal_name("TUM ") == "TUM"
    assert normal_name("a\u00a0b") == normal_name("a  b") == "a b"
    for name in ("a\x00b", "\x1b[31m", "\u200b", "\ud800"):
        with pytest.raises(DataError):
            normal_name(name)


def test_names_that_differ_only_in_spelling_are_refused() -> None:
    for pair in (("TUM", "tum"), ("\ufb01bre", "fibre"), ("stra\u00dfe", "STRASSE"), ("P07", "p7")):
        with pytest.raises(DataError, match="differ only in spelling"):
            check_spellings(pair)
    check_spellings(["TUM", "TUM", "tumour", "1.05", "1.5", "10", "1", "0"])
    check_spellings(["063aa9", "63aa09"])  # patients with hashes as names


def test_zero_fractions_are_dropped() -> None:
    assert [drop_zero_fraction(t) for t in ("1.0", "-2.00", "1.05", "01", "")] == [
        "1",
        "-2",
        "1.05",
        "01",
        "",
    ]


@given(st.text(st.characters()))
def test_any_name_is_normal_or_refused(name: str) -> None:
    try:
        normal = normal_name(name)
    except DataError:
        return
    assert normal_name(normal) == normal


def test_items_have_normal_names() -> None:
    item = Item("a", "TUM\u200b", "a.png", group="P\u200b1")
    assert (item.label, item.group) == ("TUM", "P1")
    assert Item("a", "TUM", "a.png").group is None
