"""Read single patches for inference, from a store, a source or an image file."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless.data.images import FURTHER_PAGE, image_shape, read_pages
from morefromless.data.labels import UNLABELLED
from morefromless.data.sharded import reading_order
from morefromless.data.store import Store
from morefromless.errors import UnreadablePatch
from morefromless.modalities import Modality
from morefromless.sources import Source

COLUMNS = ("id", "input", "x", "y", "label", "group", "split")
"""Columns of a table of patches. `x` and `y` are the top left corner in px of the slide's finest
level. Unknown values are empty, also `x` and `y` of patches that are not from a slide."""

TOLERANCE = 0.1
"""Largest relative difference in magnification at which the encoder accepts a patch."""


class Patches(ABC):
    """Patches of one input. Reading is safe from several threads."""

    name: str
    table: pd.DataFrame
    """One row per patch, with the columns `COLUMNS`."""
    um_per_px: float | None
    """Micrometres per pixel; None if unknown."""
    side: int | None
    """Height and width in px; of the first patch if patches differ; None if unknown."""
    channels: tuple[str, ...] = ()
    """Names of the channels, or of a vector's values; empty if unknown."""
    absolute_path: str = ""
    """Absolute path of the input; it distinguishes inputs with equal names."""
    skipped_files: Mapping[str, int] = {}
    """Number of files of each kind that are next to the patches but are not patches."""

    def __len__(self) -> int:
        return len(self.table)

    def files(self) -> Sequence[Path]:
        """The files from which the patches are read."""
        return []

    @abstractmethod
    def read(self, row: int) -> npt.NDArray[Any]:
        """Patch (H, H, 3) uint8, or vector (length,) float32. Raises `UnreadablePatch`."""


class StorePatches(Patches):
    """All patches of a store, regardless of their split."""

    def __init__(self, path: Path, modality: Modality) -> None:
        store = Store.open(path)
        self._array, self._present = store.array(modality.array), store.has(modality.array)
        self.name = path.name
        self.channels = store.meta.arrays[modality.array].channels
        self.um_per_px = None if modality.vector else store.scale(modality.array)
        self.side = None if modality.vector else int(self._array.shape[1])
        self._rows = reading_order(self._array, np.arange(len(store.table)))
        self.table = patch_table(store.table.iloc[self._rows].assign(input=self.name))
        self._array_name = modality.array
        self._files = [path / "meta.json"]  # it contains a hash of all other files

    def files(self) -> Sequence[Path]:
        return self._files

    def read(self, row: int) -> npt.NDArray[Any]:
        if not self._present[self._rows[row]]:
            raise UnreadablePatch(f"no {self._array_name}: this patch does not have it")
        return np.asarray(self._array[self._rows[row]])


class SourcePatches(Patches):
    """Patches of a folder, a table or any other source, read as `mfl ingest` reads them."""

    def __init__(self, name: str, source: Source, modality: Modality) -> None:
        self.name, self._source, self._modality = name, source, modality
        self._items = source.items()
        rows = [
            (i.id, name, *(i.place or (None, None)), i.label, i.group, i.split) for i in self._items
        ]
        self.table = patch_table(pd.DataFrame(rows, columns=list(COLUMNS)))
        sheet = source.datasheet()
        self.um_per_px, self.channels = sheet.um_per_px, sheet.channels.get(modality.array, ())
        self.skipped_files = source.skipped_files()
        self.side = None
        for item in self._items:
            try:
                self.side = source.shape(item)[0]
                break
            except UnreadablePatch:
                continue

    def files(self) -> Sequence[Path]:
        return self._source.files()

    def read(self, row: int) -> npt.NDArray[Any]:
        item = self._items[row]
        arrays = self._source.read(item)
        _refuse_several_pages(self._source.skipped_parts(item))
        name = self._modality.array
        images = [array for array in arrays.values() if array.ndim == 3]
        if name not in arrays and len(images) == 1 and is_picture(self._modality):
            return _square(images[0])  # regardless of its name in the source
        if name not in arrays:
            raise UnreadablePatch(f"no {name}: this patch does not have it")
        return _square(arrays[name])


class ImagePatches(Patches):
    """One image file as one patch."""

    def __init__(self, path: Path) -> None:
        self.name, self.um_per_px, self._path = path.name, None, path
        self.side = image_shape(path)[0]
        self.table = patch_table(pd.DataFrame({"id": [path.name], "input": [path.name]}))

    def files(self) -> Sequence[Path]:
        return [self._path]

    def read(self, row: int) -> npt.NDArray[Any]:
        del row
        return read_patch(self._path)


def read_patch(image: Path | bytes) -> npt.NDArray[np.uint8]:
    """Read the patch (H, H, 3) in an image file. Raises `UnreadablePatch`, also if the image has
    several pages or is not square."""
    pixels, further_pages = read_pages(image)
    _refuse_several_pages(further_pages)
    return _square(pixels)


def is_picture(modality: Modality) -> bool:
    """Whether a modality can be rendered from an image file: not from masks (their pixels are
    labels) or vectors."""
    return not modality.labels and not modality.vector


def patch_table(known: pd.DataFrame) -> pd.DataFrame:
    """Complete a table of patches to all of `COLUMNS`; unknown values are empty."""
    table = known.reindex(columns=list(COLUMNS)).reset_index(drop=True)
    table = table.assign(label=table["label"].mask(table["label"] == UNLABELLED, None))
    # Each column has a fixed type, even if it is empty, because tables of inputs are concatenated.
    return table.astype({name: "Int64" if name in ("x", "y") else object for name in COLUMNS})


def _refuse_several_pages(omitted: Mapping[str, int]) -> None:
    if FURTHER_PAGE in omitted:
        raise UnreadablePatch("several pages or frames: save one of them as its own file")


def _square(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.ndim == 3 and array.shape[0] != array.shape[1]:
        height, width = array.shape[:2]
        raise UnreadablePatch(f"not square: {width} x {height}; cut square patches")
    return array
