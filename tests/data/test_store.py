"""A store is valid, or rejected with an error of one sentence."""

import copy
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from morefromless.data.patch_hashes import patch_hash
from morefromless.data.store import Store
from morefromless.data.store_files import check_disjoint, content_hash
from morefromless.errors import DataError
from morefromless.files import file_hash
from tests.data.meta import meta_document

COUNT = 6


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store written by hand, as in the module's docstring."""
    path = tmp_path / "store"
    path.mkdir()
    table = pd.DataFrame(
        {
            "id": [f"p{i}" for i in range(COUNT)],
            "label": ["TUM", "ADI"] * 3,
            "split": ["train", "train", "test", "test", "val", "val"],
            "group": list("aabbcc"),
            "um_per_px": 0.5,
            "origin": "drawn",
            "hash": [f"{i:032x}" for i in range(COUNT)],
        }
    )
    table.to_parquet(path / "patches.parquet")
    np.save(path / "he.npy", np.arange(COUNT * 4 * 4 * 3, dtype=np.uint8).reshape(COUNT, 4, 4, 3))
    meta = meta_document(hash=content_hash(table))
    (path / "meta.json").write_text(json.dumps(meta))
    return path


def test_open_reads_the_store(store: Path) -> None:
    opened = Store.open(store)
    assert opened.classes == ("TUM", "ADI")
    assert opened.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert opened.labels.dtype == np.int64
    assert opened.indices("test").tolist() == [2, 3]
    groups = opened.groups("val")
    assert groups is not None
    assert groups.tolist() == ["c", "c"]
    assert (opened.side, opened.um_per_px, opened.groups_known) == (4, 0.5, True)
    assert isinstance(opened.arrays["he"], np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        opened.arrays["he"][0] = 0


def add_partial_array(store: Path) -> pd.DataFrame:
    """Add an array `ihc` to a store, which patches 1 and 2 do not have."""
    np.save(store / "ihc.npy", np.zeros((COUNT, 4, 4, 3), np.uint8))
    present = pd.DataFrame({"ihc": [True, False, False, True, True, True]})
    present.to_parquet(store / "present.parquet")
    meta = json.loads((store / "meta.json").read_text())
    meta["arrays"]["ihc"] = meta["arrays"]["he"]
    meta["absent"] = {"ihc": {"train": 1, "test": 1}}
    (store / "meta.json").write_text(json.dumps(meta))
    return present


def test_every_patch_has_every_array_by_default(store: Path) -> None:
    opened = Store.open(store)
    assert opened.has("he").tolist() == [True] * COUNT
    assert opened.select("he") is opened
    with pytest.raises(DataError, match="has no array 'ihc', only he"):
        opened.has("ihc")
    with pytest.raises(DataError, match="has no array 'ihc', only he"):
        opened.select("ihc")


def test_select_excludes_patches_without_an_array(store: Path) -> None:
    add_partial_array(store)
    opened = Store.open(store)
    assert opened.has("ihc").tolist() == [True, False, False, True, True, True]
    assert opened.has("he").all()
    assert opened.select("he") is opened.select() is opened
    complete = opened.select("he", "ihc")
    assert [complete.indices(s).tolist() for s in ("train", "test", "val")] == [[0], [3], [4, 5]]
    groups = complete.groups("test")
    assert groups is not None
    assert groups.tolist() == ["b"]
    assert opened.indices("train").tolist() == [0, 1]  # unchanged
    assert (complete.hash, complete.arrays) == (opened.hash, opened.arrays)
    assert complete.labels.tolist() == opened.labels.tolist()
    classes, labels = ["x", "y", "z"], np.array([2, 1, 0, 0, 1, 2])
    for selected in (
        opened.relabelled(classes, labels).select("ihc"),
        complete.relabelled(classes, labels),
    ):
        assert selected.labels.tolist() == labels.tolist()
        assert selected.classes == ("x", "y", "z")
        assert selected.indices("train").tolist() == [0]
        assert selected.has("ihc").tolist() == opened.has("ihc").tolist()


def test_table_of_present_arrays_is_checked(store: Path) -> None:
    present = add_partial_array(store)
    for damaged in (
        present[:-1],
        present.astype(int),
        present.assign(ihc=True),
        present.rename(columns={"ihc": "he"}),
        None,
    ):
        (store / "present.parquet").unlink()
        if damaged is not None:
            damaged.to_parquet(store / "present.parquet")
        with pytest.raises(DataError, match=r"present\.parquet is missing or damaged"):
            Store.open(store)
        present.to_parquet(store / "present.parquet")
    Store.open(store)


def test_missing_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no store at .*create it with mfl ingest"):
        Store.open(tmp_path / "nowhere")
    (tmp_path / "nowhere.partial").mkdir()
    with pytest.raises(DataError, match="was not finished: run it again"):
        Store.open(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is not a store"):
        Store.open(tmp_path)


def test_store_of_another_format_is_refused(store: Path) -> None:
    meta = json.loads((store / "meta.json").read_text())
    (store / "meta.json").write_text(json.dumps({**meta, "format": 99}))
    with pytest.raises(DataError, match="format 99, and this version reads 2"):
        Store.open(store)


@pytest.mark.parametrize("name", ["meta.json", "patches.parquet", "he.npy"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_damaged_files_are_refused(store: Path, name: str, damage: str) -> None:
    data = (store / name).read_bytes()
    (store / name).unlink()
    if damage != "missing":
        (store / name).write_bytes(data[: len(data) // 2] if damage == "cut" else b"")
    with pytest.raises(DataError, match=r"missing or damaged|meta\.json .*invalid|no meta\.json"):
        Store.open(store)


@pytest.mark.timeout(20)  # NumPy would block on a pipe
@pytest.mark.parametrize("kind", ["pipe", "zip"])
def test_pipe_or_zip_instead_of_an_array_is_refused(
    tissue: Store, tmp_path: Path, kind: str
) -> None:
    shutil.copytree(tissue.path, tmp_path / "st")
    (file := tmp_path / "st" / "he.npy").unlink()
    if kind == "pipe":
        os.mkfifo(file)
    else:
        with file.open("wb") as stream:
            np.savez(stream, he=tissue.array("he"))
    with pytest.raises(DataError, match=r"he\.npy is missing or damaged"):
        Store.open(tmp_path / "st")


def test_array_of_another_length_is_refused(store: Path) -> None:
    np.save(store / "he.npy", np.zeros((COUNT - 1, 4, 4, 3), np.uint8))
    with pytest.raises(DataError, match="but the table has 6 patches"):
        Store.open(store)
    np.save(store / "he.npy", np.zeros((COUNT, 4, 4, 3), np.float32))
    with pytest.raises(DataError, match="float32"):
        Store.open(store)
    header = (store / "he.npy").read_bytes().replace(b"}", b" ", 1)  # TokenError in NumPy
    (store / "he.npy").write_bytes(header)
    with pytest.raises(DataError, match=r"he\.npy is missing or damaged"):
        Store.open(store)


def test_edited_table_is_refused(store: Path) -> None:
    table = pd.read_parquet(store / "patches.parquet")
    table.loc[0, "label"] = "ADI"
    table.to_parquet(store / "patches.parquet")
    with pytest.raises(DataError, match="its hash differs"):
        Store.open(store)


def test_equal_pixels_in_two_splits_are_refused(store: Path) -> None:
    table = pd.read_parquet(store / "patches.parquet")
    check_disjoint(table)
    table.loc[1, "hash"] = table.loc[0, "hash"]
    check_disjoint(table)  # twice in train is not a leak
    table.loc[2, "hash"] = table.loc[0, "hash"]
    table.to_parquet(store / "patches.parquet")
    meta = json.loads((store / "meta.json").read_text())
    (store / "meta.json").write_text(json.dumps({**meta, "hash": content_hash(table)}))
    with pytest.raises(DataError, match=r"same pixels are in two splits \(p0 and p1\)|p2"):
        Store.open(store)


def test_hash_depends_on_the_columns_but_not_on_the_path(store: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(store / "patches.parquet")
    hashes = {content_hash(table)}
    for column in ("id", "label", "split", "group", "hash"):
        changed = table.copy()
        changed.loc[0, column] = "other"
        hashes.add(content_hash(changed))
    assert len(hashes) == 6
    shutil.copytree(store, tmp_path / "moved")
    assert Store.open(tmp_path / "moved").hash == Store.open(store).hash


class OddRows:
    """A task: whether a patch is in an odd row."""

    def labels(self, store: Store) -> tuple[tuple[str, ...], np.ndarray]:
        return ("even", "odd"), np.arange(len(store.table)) % 2


class Stain:
    array = "ihc"


def test_select_sets_labels_and_excludes_incomplete_patches(store: Path) -> None:
    add_partial_array(store)
    opened = Store.open(store)
    selected = opened.select(Stain(), "he", task=OddRows())
    assert selected.classes == ("even", "odd")
    assert selected.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert [selected.indices(s).tolist() for s in ("train", "test")] == [[0], [3]]
    assert (selected.hash, opened.select()) == (opened.hash, opened)
    with pytest.raises(DataError, match="has no array 'dapi'"):
        opened.select("dapi")


def test_a_task_of_one_class_is_refused(store: Path) -> None:
    class Constant:
        def labels(self, store: Store) -> tuple[tuple[str, ...], np.ndarray]:
            return ("all",), np.zeros(len(store.table), np.int64)

    with pytest.raises(DataError, match=r"All train patches of .* are 'all', so the task constant"):
        Store.open(store).select(task=Constant())
    assert Store.open(store).select(task=Constant(), check=False).classes == ("all",)


def test_arrays_without_a_hash_are_checked_by_patch_hashes(store: Path) -> None:
    add_partial_array(store)
    arrays = {name: np.load(store / f"{name}.npy") for name in ("he", "ihc")}
    table = pd.read_parquet(store / "patches.parquet")
    names_of_patches = [["he", "ihc"], ["he"], ["he"], *[["he", "ihc"]] * 3]
    table["hash"] = [
        patch_hash({n: arrays[n][i] for n in names}) for i, names in enumerate(names_of_patches)
    ]
    table.to_parquet(store / "patches.parquet")
    meta = json.loads((store / "meta.json").read_text()) | {"hash": content_hash(table)}
    size = (store / "he.npy").stat().st_size
    facts = {"bytes": size, "blake2b": None}
    meta["files"] = {"he.npy": facts, "ihc.npy": facts}
    (store / "meta.json").write_text(json.dumps(meta))
    Store.open(store).verify()
    for name, patch in (("he", 4), ("ihc", 3), ("ihc", 1)):  # patch 1 has no ihc: its row is zeros
        changed = arrays[name].copy()
        changed[patch, 3, 3, 2] ^= 1
        np.save(store / f"{name}.npy", changed)
        with pytest.raises(
            DataError, match=rf"he\.npy or ihc\.npy of .* damaged at patch p{patch}"
        ):
            Store.open(store)
        np.save(store / f"{name}.npy", arrays[name])
    (store / "he.npy").write_bytes((store / "he.npy").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"he\.npy is missing or damaged"):
        Store.open(store)


def test_store_of_an_earlier_version_is_checked_by_file_hash(store: Path) -> None:
    meta = json.loads((store / "meta.json").read_text())
    data = (store / "he.npy").read_bytes()
    meta["files"] = {"he.npy": {"bytes": len(data), "blake2b": file_hash(store / "he.npy")}}
    (store / "meta.json").write_text(json.dumps(meta))
    assert Store.open(store).table["hash"][0] == "0" * 32  # not a hash of the current version
    (store / "he.npy").write_bytes(data[:-1] + b"\x00")
    with pytest.raises(DataError, match=r"he\.npy is missing or damaged"):
        Store.open(store)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(sorted(meta_document())), value=JSON)
def test_any_value_in_meta_json_is_opened_or_refused(store: Path, key: str, value: object) -> None:
    document = meta_document(hash=content_hash(pd.read_parquet(store / "patches.parquet")))
    (store / "meta.json").write_text(json.dumps({**document, key: value}))
    try:
        opened = Store.open(store)
    except DataError:
        return
    assert opened.side == 4


def test_copies_and_pickles_map_the_same_files(tissue: Store) -> None:
    relabelled = tissue.relabelled(("a", "b"), np.arange(len(tissue.table)) % 2)
    assert len(pickle.dumps(relabelled)) < tissue.arrays["he"].nbytes / 2
    copied = copy.deepcopy(relabelled)  # uses the same methods as pickle
    assert isinstance(copied.arrays["he"], np.memmap)
    assert list(copied.arrays) == list(relabelled.arrays)
    np.testing.assert_array_equal(copied.arrays["he"], relabelled.arrays["he"])
    np.testing.assert_array_equal(copied.labels, relabelled.labels)
    values = np.arange(len(tissue.table))
    with_array = Store(tissue.path, tissue.meta, tissue.table, {"other": values})
    np.testing.assert_array_equal(copy.deepcopy(with_array).arrays["other"], values)


class Labels:
    """A task that returns the labels that it was given."""

    def __init__(self, labels: object) -> None:
        self.values = labels

    def labels(self, store: Store) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        del store
        return ("a", "b"), self.values  # type: ignore[return-value]


def test_labels_of_a_task_are_indices_into_its_classes(tissue: Store) -> None:
    valid = np.arange(len(tissue.table)) % 2
    for labels in (valid, valid.astype(np.int8), valid.tolist()):
        np.testing.assert_array_equal(tissue.select(task=Labels(labels)).labels, valid)
    for invalid in (valid + 1, valid - 2, valid.astype(float), valid == 0, valid[:9]):
        with pytest.raises(DataError, match=r"The task Labels gives labels .* give one integer"):
            tissue.select(task=Labels(invalid))
