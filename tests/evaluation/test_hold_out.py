"""A hold-out consists of whole groups, or of whole clusters of similar colours."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.hold_out import colour_clusters, write_hold_out_store
from morefromless.ingest import ingest
from morefromless.sources.synthetic import Synthetic


def test_only_training_patches_are_split_and_groups_stay_whole(
    tissue: Store, tmp_path: Path
) -> None:
    split = write_hold_out_store(tissue, tmp_path / "hold-out", share=0.3)
    split.verify()
    rows = tissue.indices("train")
    assert [*split.table["id"]] == [*tissue.table["id"].iloc[rows]]
    assert np.array_equal(split.array("he"), tissue.array("he")[rows])
    train, test = set(split.groups("train")), set(split.groups("test"))  # type: ignore[arg-type]
    assert train
    assert test
    assert not train & test
    assert split.hash != tissue.hash
    with pytest.raises(ConfigError, match="exists already"):
        write_hold_out_store(tissue, tmp_path / "hold-out")


def test_without_groups_whole_clusters_are_held_out(tmp_path: Path) -> None:
    path = tmp_path / "positive"
    ingest(
        Synthetic(patches=200, patients=8, size=32, control="positive"),
        path,
        progress=False,
        workers=1,
    )
    store = Store.open(path)
    store.meta = type(store.meta)(
        **{
            **{n: getattr(store.meta, n) for n in store.meta.__struct_fields__},
            "groups_known": False,
        }
    )
    rows = store.indices("train")
    clusters = colour_clusters(store, rows, 10, 0)
    split = write_hold_out_store(store, tmp_path / "hold-out", clusters=10)
    held_out = np.flatnonzero((split.table["split"] == "test").to_numpy())
    assert not set(clusters[held_out]) & set(np.delete(clusters, held_out))
    with pytest.raises(ConfigError, match="more than the"):
        write_hold_out_store(store, tmp_path / "other", clusters=1000)


def test_class_in_only_one_split_is_refused(tissue: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="every class on both sides"):
        write_hold_out_store(_one_group(tissue), tmp_path / "hold-out")


def test_store_without_training_patches_is_refused(tissue: Store, tmp_path: Path) -> None:
    table = tissue.table.assign(split="test")  # as in the store of another cohort
    cohort = Store(tissue.path, tissue.meta, table, tissue.arrays)
    with pytest.raises(DataError, match="has no training patches"):
        write_hold_out_store(cohort, tmp_path / "hold-out")


def test_hold_out_keeps_the_properties_of_arrays(tissue: Store, tmp_path: Path) -> None:
    """A wider field has its own magnification, and other channels have names and ranges."""
    properties = {"um_per_px": 8.0, "channels": ("r", "g", "b"), "ranges": ((0.0, 1.0),) * 3}
    arrays = {
        name: msgspec.structs.replace(facts, **properties)
        for name, facts in tissue.meta.arrays.items()
    }
    meta = msgspec.structs.replace(tissue.meta, arrays=arrays)
    store = Store(tissue.path, meta, tissue.table, tissue.arrays, tissue.present)
    split = write_hold_out_store(store, tmp_path / "hold-out", share=0.3)
    stored = split.meta.arrays["he"]
    assert {name: getattr(stored, name) for name in properties} == properties
    assert split.scale("he") == 8.0


@pytest.mark.parametrize("shape", [(5,), (8, 8, 5)])
def test_without_rgb_images_there_are_no_clusters(tissue: Store, shape: tuple[int, ...]) -> None:
    values = np.zeros((len(tissue.table), *shape), np.uint8)
    store = Store(tissue.path, tissue.meta, tissue.table, {"other": values})
    with pytest.raises(DataError, match="no RGB images"):
        colour_clusters(store, store.indices("train"), 3, 0)


def _one_group(store: Store) -> Store:
    table = store.table.assign(group="p")
    return Store(store.path, store.meta, table, store.arrays, store.present)
