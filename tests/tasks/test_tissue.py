"""The task tissue: patches without a label are in none of its splits."""

import numpy as np
import pytest
from msgspec import structs

from morefromless.analysis.representative import named_patches
from morefromless.data.labels import UNLABELLED
from morefromless.data.store import Store
from morefromless.errors import DataError
from morefromless.tasks.tissue import Tissue


def without(store: Store, bare: np.ndarray) -> Store:
    """The store with some labels removed."""
    table = store.table.assign(label=store.table["label"].mask(bare, UNLABELLED))
    classes = tuple(sorted({*table["label"]}, reverse=True))  # unlabelled is not the last
    return Store(store.path, structs.replace(store.meta, classes=classes), table, store.arrays)


def test_those_without_a_label_stand_in_no_split(tissue: Store) -> None:
    bare = np.arange(len(tissue.table)) % 2 == 0
    store = without(tissue, bare)
    asked = store.select(task=Tissue())
    assert asked.hash == tissue.hash
    assert asked.classes == tuple(sorted(tissue.classes, reverse=True))
    assert asked.labels[bare].tolist() == [-1] * bare.sum()
    assert [asked.classes[k] for k in asked.labels[~bare]] == tissue.table["label"][~bare].tolist()
    for split in ("train", "test"):
        rows = tissue.indices(split)
        assert asked.indices(split).tolist() == rows[~bare[rows]].tolist()
        assert store.indices(split).tolist() == rows.tolist()
    first, second = tissue.table["id"].iloc[:2]
    assert list(named_patches(asked, [first, second])) == [
        f"{first}: unlabelled",
        f"{second}: {tissue.table['label'].iloc[1]}",
    ]
    again = asked.select(task=Tissue())
    assert (again.classes, again.labels.tolist()) == (asked.classes, asked.labels.tolist())


def test_where_all_or_none_has_a_label_nothing_changes(tissue: Store) -> None:
    classes, labels = Tissue().labels(tissue)
    assert (classes, labels.dtype) == (tissue.classes, np.int64)
    assert labels.tolist() == tissue.labels.tolist()
    none = without(tissue, np.ones(len(tissue.table), bool))
    assert Tissue().labels(none)[0] == (UNLABELLED,)
    assert none.select(task=Tissue(), check=False).indices("test").tolist() == (
        tissue.indices("test").tolist()
    )


def test_a_task_that_asks_nothing_is_refused(tissue: Store) -> None:
    tested = (tissue.table["split"] == "test").to_numpy()
    with pytest.raises(
        DataError, match=r"No test patch of .* has a label, .*; label patches of two"
    ):
        without(tissue, tested).select(task=Tissue())
    other = (tissue.table["label"] != tissue.classes[0]).to_numpy()
    with pytest.raises(DataError, match=rf"All labelled test .* are '{tissue.classes[0]}', so"):
        without(tissue, tested & other).select(task=Tissue())
