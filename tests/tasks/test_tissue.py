"""The task tissue: patches without a label are in none of its splits."""

import numpy as np
import pytest
from msgspec import structs

from morefromless.analysis.representative import named_patches
from morefromless.data.labels import UNLABELLED
from morefromless.data.store import Store
from morefromless.errors import DataError
from morefromless.tasks.tissue import Tissue


def remove_labels(store: Store, unlabelled: np.ndarray) -> Store:
    """The store with some labels removed."""
    table = store.table.assign(label=store.table["label"].mask(unlabelled, UNLABELLED))
    classes = tuple(sorted({*table["label"]}, reverse=True))  # UNLABELLED is not the last class
    return Store(store.path, structs.replace(store.meta, classes=classes), table, store.arrays)


def test_unlabelled_patches_are_in_no_split(tissue: Store) -> None:
    unlabelled = np.arange(len(tissue.table)) % 2 == 0
    store = remove_labels(tissue, unlabelled)
    selected = store.select(task=Tissue())
    assert selected.hash == tissue.hash
    assert selected.classes == tuple(sorted(tissue.classes, reverse=True))
    assert selected.labels[unlabelled].tolist() == [-1] * unlabelled.sum()
    assert [selected.classes[k] for k in selected.labels[~unlabelled]] == tissue.table["label"][
        ~unlabelled
    ].tolist()
    for split in ("train", "test"):
        rows = tissue.indices(split)
        assert selected.indices(split).tolist() == rows[~unlabelled[rows]].tolist()
        assert store.indices(split).tolist() == rows.tolist()
    first, second = tissue.table["id"].iloc[:2]
    assert list(named_patches(selected, [first, second])) == [
        f"{first}: unlabelled",
        f"{second}: {tissue.table['label'].iloc[1]}",
    ]
    reselected = selected.select(task=Tissue())
    assert (reselected.classes, reselected.labels.tolist()) == (
        selected.classes,
        selected.labels.tolist(),
    )


def test_store_with_all_or_no_labels_is_unchanged(tissue: Store) -> None:
    classes, labels = Tissue().labels(tissue)
    assert (classes, labels.dtype) == (tissue.classes, np.int64)
    assert labels.tolist() == tissue.labels.tolist()
    all_unlabelled = remove_labels(tissue, np.ones(len(tissue.table), bool))
    assert Tissue().labels(all_unlabelled)[0] == (UNLABELLED,)
    assert all_unlabelled.select(task=Tissue(), check=False).indices("test").tolist() == (
        tissue.indices("test").tolist()
    )


def test_test_patches_need_labels_of_two_classes(tissue: Store) -> None:
    is_test = (tissue.table["split"] == "test").to_numpy()
    with pytest.raises(
        DataError, match=r"No test patch of .* has a label, .*; label patches of two"
    ):
        remove_labels(tissue, is_test).select(task=Tissue())
    other_classes = (tissue.table["label"] != tissue.classes[0]).to_numpy()
    with pytest.raises(DataError, match=rf"All labelled test .* are '{tissue.classes[0]}', so"):
        remove_labels(tissue, is_test & other_classes).select(task=Tissue())
