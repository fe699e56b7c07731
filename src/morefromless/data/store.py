"""The store: decoded patches on disk, memory-mapped when opened.

- `meta.json`: datasheet, classes in order, arrays, split rule, counts, caveats, hash
- `patches.parquet`: one row per patch: id, label, split, group, um_per_px, origin, hash. Patches of
  slides also have x, y: the top left corner in px of the slide's finest level
- `he.npy`: (N, H, W, C) uint8 or uint16, memory-mapped; one file per image array
- `expression.npy`: (N, length) float32, memory-mapped; one file per vector array
- `nuclei.npy`: label images of nuclei (`data.nuclei`), memory-mapped, if nuclei are known
- `nuclei.parquet`: one row per nucleus and patch: patch, type, area, counted
- `present.parquet`: one row per patch and one bool column per array that some patches do not have,
  if there is such an array. In the array itself, the rows of those patches are zeros
- `rejected.csv`: id, origin and reason of each rejected patch
- `near_duplicates.csv`, `shifts.csv`: leaks and shifts of paired images that `ingest.checks` found,
  if any

A published store has its arrays in shards/, with the index shards.json (`data.shard_index`). A
streamed store has shards.json, remote.json with the address of the shards, and cache/ with the
shards that were read last.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from msgspec.structs import replace

from morefromless.data.labels import UNLABELLED, tissue_classes
from morefromless.data.schemes import Scheme
from morefromless.data.sharded import ShardedArray, ShardReader
from morefromless.data.splits import Split
from morefromless.data.store_files import (
    check_disjoint,
    check_files,
    check_patches,
    content_hash,
    damaged_file,
    non_array_files,
    read_array,
    read_present,
    read_table,
)
from morefromless.data.store_meta import StoreMeta, read_meta
from morefromless.data.store_shards import open_shards
from morefromless.documents import read_parquet
from morefromless.errors import DataError

MAX_HASHED_BYTES = 2**26
"""Size in bytes up to which a file's hash is compared each time a store is opened."""


class HasArray(Protocol):
    """What a store needs from a modality: the name of the array that it reads."""

    @property
    def array(self) -> str: ...


class HasLabels(Protocol):
    """What a store needs from a task: class names, and the class of each patch."""

    def labels(self, store: "Store", /) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]: ...


class Store:
    """A store, opened and validated."""

    path: Path
    meta: StoreMeta
    """Content of `meta.json`."""
    table: pd.DataFrame
    """One row per patch; row i describes `arrays[name][i]`."""
    arrays: dict[str, npt.NDArray[Any]]
    """Memory-mapped, read-only: images (N, H, W, C) uint8 or uint16, RGB if C is 3, and vectors
    (N, length) float32."""
    present: pd.DataFrame
    """Row i says which arrays patch i has; one column per array that some patches do not have."""

    def __init__(
        self,
        path: Path,
        meta: StoreMeta,
        table: pd.DataFrame,
        arrays: dict[str, npt.NDArray[Any]],
        present: pd.DataFrame | None = None,
    ) -> None:
        self.path, self.meta, self.table, self.arrays = path, meta, table, arrays
        self.present = pd.DataFrame(index=table.index) if present is None else present

    def __repr__(self) -> str:
        splits = ", ".join(
            f"{count:,} {split}" for split, count in self.table["split"].value_counts().items()
        )
        arrays = ", ".join(self.arrays)
        classes = len(tissue_classes(self.classes))
        return f"Store({str(self.path)!r}: {splits}; {arrays}; {classes} classes)"

    @classmethod
    def open(cls, path: Path | str) -> "Store":
        """Open the store at `path`. Raises `DataError` if it does not exist or is damaged."""
        path = Path(path)
        meta = read_meta(path)
        table = read_table(path)
        if content_hash(table) != meta.hash:
            raise DataError(
                f"The table of {path} has changed since ingest (its hash differs); "
                "remove that folder and ingest again."
            )
        check_disjoint(table)
        unknown = sorted(set(table["label"]) - set(meta.classes))
        if unknown:
            raise DataError(
                f"The class '{unknown[0]}' is in the table of {path} but not in its meta.json; "
                "remove that folder and ingest again."
            )
        shards = open_shards(path, meta)
        # Before the arrays are mapped: NumPy would block on a pipe in place of an array file.
        check_files(
            path, meta.files if shards is None else non_array_files(meta.files), MAX_HASHED_BYTES
        )
        arrays = map_arrays(path, meta, len(table), shards)
        store = cls(path, meta, table, arrays, read_present(path, meta.absent, len(table)))
        store._check_patches(MAX_HASHED_BYTES)
        return store

    def __getstate__(self) -> dict[str, Any]:
        """Drop mapped arrays: copies and other processes map the same files again."""
        in_memory = {
            name: array for name, array in self.arrays.items() if type(array) is np.ndarray
        }
        return {**vars(self), "arrays": (list(self.arrays), in_memory)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        names, in_memory = state["arrays"]
        mapped = {}
        if len(in_memory) < len(names):
            shards = open_shards(self.path, self.meta)
            mapped = map_arrays(self.path, self.meta, len(self.table), shards)
        self.arrays = {name: (mapped | in_memory)[name] for name in names}

    def verify(self, limit: int | None = None) -> None:
        """Raise `DataError` if the bytes of a file differ from those that ingest wrote.

        `open` compares the size of every file, and the hash of files up to 64 MiB. This method
        compares the hash of all files, or of files up to `limit` bytes. It reads about 1 GB per
        second. Shards are verified when they are fetched.
        """
        whole = self.shards is None
        check_files(
            self.path, self.meta.files if whole else non_array_files(self.meta.files), limit
        )
        self._check_patches(limit)

    def _check_patches(self, limit: int | None) -> None:
        if self.shards is None or self.shards.remote is None:
            check_patches(self.path, self.meta.files, self.table, self.arrays, self.present, limit)

    @property
    def shards(self) -> ShardReader | None:
        """The shards that hold the arrays, or None if each array is one file."""
        arrays: Iterable[object] = self.arrays.values()
        return next((array.shards for array in arrays if isinstance(array, ShardedArray)), None)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of `labels`."""
        return self.meta.classes

    @property
    def unlabelled(self) -> bool:
        """Whether no patch has a class."""
        return self.classes == (UNLABELLED,)

    @property
    def scheme(self) -> Scheme:
        """Types of the nuclei. Raises `DataError` if the store has no nuclei."""
        scheme = self.meta.scheme
        if scheme is None:
            raise DataError(
                f"{self.path} has no nuclei; ingest again with --nuclei SEGMENTATIONS, which "
                "mfl segment can create."
            )
        return Scheme(scheme.name, scheme.types)

    @property
    def typed_nuclei(self) -> bool:
        """Whether the nuclei may be of several types, not counting the scheme's background."""
        return self.meta.scheme is not None and len(self.meta.scheme.types) > 2

    @cached_property
    def nuclei(self) -> pd.DataFrame:
        """One row per nucleus: patch, type, area, counted (`data.nuclei.nuclei_table`).

        Raises `DataError` if the store has no nuclei.
        """
        assert self.scheme
        try:
            return read_parquet(self.path / "nuclei.parquet")
        except (OSError, ValueError) as error:
            raise damaged_file(self.path, "nuclei.parquet") from error

    @property
    def side(self) -> int:
        """Height and width in px of the array that the magnification refers to (`main_image`)."""
        return int(self.main.shape[1])

    @property
    def main(self) -> npt.NDArray[Any]:
        """The array that the magnification refers to (`main_image`): (N, H, W, C)."""
        return self.arrays[main_image(n for n, array in self.arrays.items() if array.ndim == 4)]

    @property
    def um_per_px(self) -> float | None:
        """Micrometres per pixel; None if unknown, or not the same for all patches."""
        return self.meta.um_per_px

    def channels(self, name: str) -> tuple[str, ...]:
        """Names of an array's channels; "channel 1" and so on if the source has no names."""
        count = self.array(name).shape[-1]
        return self.meta.arrays[name].channels or tuple(f"channel {k + 1}" for k in range(count))

    def scale(self, name: str) -> float | None:
        """Micrometres per pixel of an image array, or None if unknown.

        Arrays show the same field of view unless their source states their own scale, for example
        for a wider field.
        """
        stated = self.meta.arrays[name].um_per_px
        if stated is not None or self.um_per_px is None:
            return stated
        return self.um_per_px * self.side / int(self.array(name).shape[1])

    @property
    def hash(self) -> str:
        """Hash of ids, labels, splits, groups and pixels: equal stores have equal hashes."""
        return self.meta.hash

    @property
    def groups_known(self) -> bool:
        """Whether each patch's group (patient or slide) is known."""
        return self.meta.groups_known

    @property
    def caveats(self) -> list[str]:
        """Sentences that must accompany every result from these patches."""
        return list(self.meta.caveats)

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """(N,) class of each patch, an index into `classes`; -1 if a task gives it no class."""
        codes = pd.Categorical(self.table["label"], categories=self.classes).codes
        return codes.astype(np.int64)

    @property
    def can_train_probe(self) -> bool:
        """Whether a probe can be trained: the training patches have two classes or more."""
        labels = self.labels[self.indices("train")]
        return len(np.unique(labels[labels >= 0])) > 1

    @property
    def has_test_patches(self) -> bool:
        """Whether there are test patches."""
        return len(self.indices("test")) > 0

    def select(
        self, *modalities: HasArray | str, task: HasLabels | None = None, check: bool = True
    ) -> "Store":
        """Return the store for a task and modalities, with the same rows, order and hash.

        Labels are those of `task`, or unchanged if None. `modalities` are modalities or names of
        arrays. A patch is in no split if the task gives it no label, or if the array of one of the
        modalities is missing. Raises `DataError` if the store has no such array. If `check` is
        true, raises it also if all training or all test patches have one class, or none.

        >>> import tempfile; from pathlib import Path
        >>> from morefromless.ingest import ingest, open_source
        >>> path = Path(tempfile.mkdtemp()) / "store"
        >>> _ = ingest(open_source("synthetic:patches=200,size=32"), path, progress=False)
        >>> store = Store.open(path)
        >>> store.select("he") is store  # every patch has it
        True
        """
        store = self
        if task is not None:
            classes, labels = self._labels_of(task)
            if check:
                self._check_classes(classes, labels, type(task).__name__.lower())
            store = self.relabelled(classes, labels)
        return store._restrict_to(m if isinstance(m, str) else m.array for m in modalities)

    def _labels_of(self, task: HasLabels) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        """The validated labels of a task, which may be a user-defined class."""
        name, result = type(task).__name__, task.labels(self)
        if not isinstance(result, tuple) or len(result) != 2 or len({*result[0]}) < len(result[0]):
            raise DataError(
                f"The labels of task {name} must be a pair: distinct names of classes, and "
                "the class of each patch as an index into them."
            )
        classes, labels = result[0], np.asarray(result[1])
        if (
            labels.shape != (len(self.table),)
            or not np.issubdtype(labels.dtype, np.integer)
            or not -1 <= labels.min(initial=-1) <= labels.max(initial=-1) < len(classes)
        ):
            raise DataError(
                f"The task {name} gives labels {labels.dtype} {labels.shape} for "
                f"{len(self.table)} patches and {len(classes)} classes; give one integer per "
                "patch: an index into the classes, or -1 for no class."
            )
        return tuple(classes), labels.astype(np.int64)

    def _check_classes(
        self, classes: Sequence[str], labels: npt.NDArray[np.int64], task: str
    ) -> None:
        for split in ("train", "test"):
            of_split = labels[self.indices(split)]
            present = np.unique(of_split[of_split >= 0])
            if len(of_split) and not len(present):
                raise DataError(
                    f"No {split} patch of {self.path} has a label, so the task {task} cannot be "
                    "evaluated; label patches of two classes or more, and ingest again."
                )
            if len(present) == 1:
                remedy = (
                    "use the task cell"
                    if self.typed_nuclei and task != "cell"
                    else "a task needs patches of two classes or more in each split"
                )
                labelled = "labelled " * bool((of_split < 0).any())
                raise DataError(
                    f"All {labelled}{split} patches of {self.path} are '{classes[present[0]]}', so "
                    f"the task {task} cannot be evaluated; {remedy}."
                )

    def relabelled(self, classes: Sequence[str], labels: npt.NDArray[np.int64]) -> "Store":
        """Return the same patches with new labels (N,), indices into `classes`. A patch with label
        -1 is in no split."""
        table = self.table.assign(label=np.array([*classes, None], dtype=object)[labels])
        if (labels < 0).any():
            table["split"] = table["split"].mask(labels < 0, None)
        meta = replace(self.meta, classes=tuple(classes))
        return Store(self.path, meta, table, self.arrays, self.present)

    def has(self, name: str) -> npt.NDArray[np.bool_]:
        """(N,) whether each patch has the array. Raises `DataError` as `array` does."""
        self.array(name)
        if name not in self.present:
            return np.ones(len(self.table), dtype=bool)
        return self.present[name].to_numpy(dtype=bool)

    def _restrict_to(self, names: Iterable[str]) -> "Store":
        """Same rows and hash; patches without one of these arrays are in no split."""
        lacking = np.zeros(len(self.table), dtype=bool)
        for name in names:
            lacking |= ~self.has(name)
        if not lacking.any():
            return self
        table = self.table.assign(split=self.table["split"].mask(lacking, None))
        return Store(self.path, self.meta, table, self.arrays, self.present)

    def array(self, name: str) -> npt.NDArray[Any]:
        """One of the arrays. Raises `DataError`, which lists the existing arrays."""
        if name not in self.arrays:
            known = ", ".join(self.arrays)
            raise DataError(
                f"{self.path} has no array '{name}', only {known}; use one of these, for example "
                f"full:{next(iter(self.arrays))}."
            )
        return self.arrays[name]

    def indices(self, split: Split) -> npt.NDArray[np.int64]:
        """Rows of a split in ascending order; empty if the store has no such split."""
        return np.flatnonzero((self.table["split"] == split).to_numpy()).astype(np.int64)

    def groups(self, split: Split) -> npt.NDArray[np.object_] | None:
        """Group of each patch of a split, in the order of `indices`; None if groups are unknown."""
        if not self.groups_known:
            return None
        return self.table["group"].to_numpy(dtype=object)[self.indices(split)]


def map_arrays(
    path: Path, meta: StoreMeta, count: int, shards: ShardReader | None
) -> dict[str, npt.NDArray[Any]]:
    """Memory-map the arrays of the store at `path`, which has `count` patches."""
    return {
        name: read_array(path, name, recorded, count)
        if shards is None
        else cast(npt.NDArray[Any], ShardedArray(shards, name, recorded))
        for name, recorded in meta.arrays.items()
    }


def main_image(names: Iterable[str]) -> str:
    """The array that patch size and magnification refer to: `he`, else the first by name.

    >>> main_image(["context", "he"]), main_image(["ihc", "dapi"])
    ('he', 'dapi')
    """
    names = sorted(names)
    return "he" if "he" in names else names[0]
