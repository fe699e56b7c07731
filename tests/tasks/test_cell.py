"""The cell task against the published rule (tests/conformance, group `cell_label`)."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from morefromless.data.nuclei import Nuclei, nuclei_table
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.tasks import build_task
from morefromless.tasks.cell import Cell
from tests.conformance import Case, cases

# The rule of each stored output; `authors.label` is the default.
RULES = {
    "authors.label": Cell(),
    "info.label_ignoring_untyped_first_seen": Cell(untyped="exclude"),
    "info.label_ignoring_untyped_lowest_id": Cell(untyped="exclude", ties="lowest"),
    "info.label_mode_lowest_id": Cell(ties="lowest"),
    "info.label_pixel_majority_nonbackground": Cell(by="area", untyped="exclude", ties="lowest"),
}
# Outputs without a rule here: the majority of all pixels, background included; the code's rule
# applied to a pixel mask; and the counts, which are checked separately.
OTHER_OUTPUTS = {
    "info.label_pixel_majority_all",
    "authors.label_if_fed_the_pixel_mask",
    "info.counts",
}


def nuclei_of(case: Case) -> pd.DataFrame:
    types = case.inputs["nucleus_types"].astype(np.uint8)
    instances = case.inputs["instance_map"].astype(np.int32)
    return nuclei_table(Nuclei(instances, types, np.ones(len(types), bool)).encode()[None])


@pytest.mark.parametrize("case", cases("cell_label"), ids=str)
def test_agrees_with_every_reference(case: Case) -> None:
    nuclei = nuclei_of(case)
    counts = np.bincount(nuclei["type"], minlength=6)
    np.testing.assert_array_equal(counts, case.output("info.counts"))
    for name, rule in RULES.items():
        assert rule.most_frequent_types(nuclei, 1)[0] == case.output(name), name
    assert {*case.names(), *case.names("info")} == {*RULES, *OTHER_OUTPUTS}


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(1, 9), st.booleans()),
        max_size=40,
    ),
    st.sampled_from(list(RULES.values())),
)
def test_agrees_with_a_plain_loop(rows: list[tuple[int, int, int, bool]], rule: Cell) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    table = pd.DataFrame(rows, columns=["patch", "type", "area", "counted"])
    expected = []
    for patch in range(5):
        votes: Counter[int] = Counter()
        for row_patch, kind, area, counted in rows:
            if (
                row_patch == patch
                and (counted or rule.by == "area")
                and (kind or rule.untyped == "count")
            ):
                votes[kind] += area if rule.by == "area" else 1
        highest = max(votes.values(), default=0)
        # In the order of the table.
        best = [kind for kind, count in votes.items() if count == highest]
        expected.append((min(best) if rule.ties == "lowest" else best[0]) if best else 0)
    assert rule.most_frequent_types(table.astype({"counted": bool}), 5).tolist() == expected


def test_a_store_is_labelled_with_the_types_that_occur(tissue: Store) -> None:
    store = tissue.select(task=build_task("cell"))
    assert set(store.classes) <= set(tissue.scheme.types)
    assert store.hash == tissue.hash  # the same data for another task
    assert tissue.classes == tissue.select(task=build_task("tissue")).classes
    background = tissue.table["label"].eq("BACK").to_numpy()
    assert {store.classes[k] for k in store.labels[background]} == {"Background"}
    tumour = tissue.table["label"].eq("TUM").to_numpy()
    assert {store.classes[k] for k in store.labels[tumour]} == {"Neoplastic"}


def test_the_nuclei_of_a_store_are_counted_once_for_each_rule(
    tissue: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules: list[Cell] = []

    def record_rule(rule: Cell, _: pd.DataFrame, patches: int) -> np.ndarray:
        rules.append(rule)
        return np.arange(patches) % 2

    monkeypatch.setattr(Cell, "most_frequent_types", record_rule)
    store = Store.open(tissue.path)
    for rule in (Cell(), Cell(), Cell(by="area"), Cell()):
        assert store.select(task=rule).labels.tolist()[:3] == [0, 1, 0]
    assert rules == [Cell(), Cell(by="area")]


def test_task_of_one_class_is_refused(tissue: Store) -> None:
    one_class = tissue.relabelled(["one"], np.zeros(len(tissue.table), np.int64))
    with pytest.raises(DataError, match=r"All train patches of .* are 'one'"):
        one_class.select(task=build_task("tissue"))


def test_error_without_nuclei_says_how_to_get_them(tissue: Store) -> None:
    without_nuclei = Store(
        tissue.path, replace(tissue.meta, scheme=None), tissue.table, tissue.arrays
    )
    with pytest.raises(DataError, match="has no nuclei; ingest again with --nuclei"):
        without_nuclei.select(task=build_task("cell"))


def test_unknown_rule_is_refused(tissue: Store) -> None:
    with pytest.raises(ConfigError):
        tissue.select(task=build_task("cell:by=size"))
    with pytest.raises(ConfigError, match="give number or area"):
        Cell(by="size")  # type: ignore[arg-type]
