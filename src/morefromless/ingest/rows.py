"""The arrays of a store while they are written: every patch once, at its place."""

import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from morefromless import files
from morefromless.data.near_duplicates import SIDE, thumbnail
from morefromless.data.store import main_image
from morefromless.ingest.decoding import Shape

SMALL = np.dtype((np.float32, (SIDE, SIDE)))


class Rows:
    """The npy files of a store, and one of thumbnails: row i of each is item i.

    Rows are written by any number of threads. They are written and not mapped: a mapped page that
    finds the disk full ends the process.
    """

    def __init__(self, folder: Path, thumbnails: Path, shape: Shape, count: int) -> None:
        self.folder, self.shape, self.count = folder, shape, count
        self._main = main_image(shape.images)
        folder.mkdir(exist_ok=True)
        self._files = {
            name: _File(folder / f"{name}.npy", shape.row(name)) for name in shape.arrays
        }
        self._small = _File(thumbnails, SMALL)

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for file in (*self._files.values(), self._small):
            file.close()

    def write(self, index: int, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write the arrays of one item."""
        with files.explaining(self.folder):
            for name, array in arrays.items():
                self._files[name].write(index, array)
            self._small.write(index, thumbnail(arrays[self._main]))

    def sync(self) -> None:
        """Bring what was written to the disk."""
        with files.explaining(self.folder):
            for file in (*self._files.values(), self._small):
                file.sync()

    def finish(self, order: Sequence[int]) -> npt.NDArray[np.float32]:
        """Make row i of each array the one of item `order[i]`, and cut off the others; a map of
        the thumbnails in this order.

        An item moves only to a place of one that is not taken, so after a kill in the midst the
        same again ends the same.
        """
        moved = [(row, place) for place, row in enumerate(order) if row != place]
        for file in (*self._files.values(), self._small):
            file.finish(moved, len(order))
        self.sync()
        small: npt.NDArray[np.float32] = np.load(self._small.path, mmap_mode="r")
        return small


class _File:
    """An npy file that is written in parts. Its header comes last, and has one length."""

    def __init__(self, path: Path, row: np.dtype[Any]) -> None:
        self.path, self.row = path, row
        self._begin = len(self._header(0))
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def write(self, index: int, array: npt.NDArray[Any]) -> None:
        self._write(np.ascontiguousarray(array).data.cast("B"), self._offset(index))

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def finish(self, moved: Sequence[tuple[int, int]], count: int) -> None:
        if os.fstat(self._descriptor).st_size > self._offset(count):
            for row, place in moved:
                self._write(memoryview(self._read(row)), self._offset(place))
            os.ftruncate(self._descriptor, self._offset(count))
        self._write(memoryview(self._header(count)), 0)

    def close(self) -> None:
        os.close(self._descriptor)

    def _offset(self, index: int) -> int:
        return self._begin + index * self.row.itemsize

    def _header(self, count: int) -> bytes:
        file = BytesIO()
        shape = (count, *self.row.shape)
        header = {"descr": self.row.base.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        return file.getvalue()

    def _read(self, row: int) -> bytes:
        return os.pread(self._descriptor, self.row.itemsize, self._offset(row))

    def _write(self, data: memoryview, offset: int) -> None:
        while data:
            count = os.pwrite(self._descriptor, data, offset)
            data, offset = data[count:], offset + count
