"""Write the arrays of a store. Each patch is written once, at the offset of its item."""

import errno
import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from morefromless import files
from morefromless.data.near_duplicates import SIDE, thumbnail
from morefromless.data.store import main_image
from morefromless.ingest.shapes import Shape

THUMBNAIL = np.dtype((np.float32, (SIDE, SIDE)))
PAGE = 4096
"""Bytes. Writes that bypass the page cache need an offset, address and length that are multiples of
this. Rows start after one page, so that they are aligned when the file is mapped."""


class Rows:
    """The npy files of a store and of thumbnails. Row i of each file is item i.

    Any number of threads may call `write`, and any number of processes may call `buffer` and
    `flush`. Files are not memory-mapped for writing, because a full disk would then kill the
    process.
    """

    def __init__(self, folder: Path, thumbnails: Path, shape: Shape, count: int) -> None:
        self.folder, self.shape, self.count = folder, shape, count
        self._main = main_image(shape.images)
        folder.mkdir(exist_ok=True)
        self._files = {
            name: _File(folder / f"{name}.npy", shape.row(name), shape.batch)
            for name in shape.arrays
        }
        self._small = _File(thumbnails, THUMBNAIL, shape.batch)
        self._all_files = (*self._files.values(), self._small)

    def close(self) -> None:
        for file in self._all_files:
            file.close()

    def write(self, index: int, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write the arrays of one item."""
        with files.raising_storage_errors(self.folder):
            for file, array in self._by_file(arrays):
                file.write(index, array)

    def buffer(self, index: int, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Buffer the arrays of one item in this process until `flush`. Maximum: `shape.batch`
        items."""
        for file, array in self._by_file(arrays):
            file.buffer(index, array)

    def flush(self) -> None:
        """Write the buffered items."""
        with files.raising_storage_errors(self.folder):
            for file in self._all_files:
                file.flush()

    def sync(self) -> None:
        """Sync written data to disk."""
        with files.raising_storage_errors(self.folder):
            for file in self._all_files:
                file.sync()

    def finish(self, order: Sequence[int]) -> npt.NDArray[np.float32]:
        """Move item `order[i]` to row i of each array and truncate the remaining rows.

        Returns the thumbnails in this order, memory-mapped. Items only move to places of rejected
        items, so after a kill the same call can be repeated with the same result.
        """
        moved = [(row, position) for position, row in enumerate(order) if row != position]
        for file in self._all_files:
            file.finish(moved, len(order))
        self.sync()
        small: npt.NDArray[np.float32] = np.load(self._small.path, mmap_mode="r")
        return small

    def _by_file(
        self, arrays: Mapping[str, npt.NDArray[Any]]
    ) -> Iterator[tuple["_File", npt.NDArray[Any]]]:
        for name, array in arrays.items():
            yield self._files[name], array
        yield self._small, thumbnail(arrays[self._main])


class _File:
    """An npy file that is written in parts. The header is written last and has a fixed length."""

    def __init__(self, path: Path, row: np.dtype[Any], batch: int) -> None:
        self.path, self.row, self.batch = path, row, batch
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._direct_descriptor = _open_direct(path)
        self._buffered: list[int] = []

    def write(self, index: int, array: npt.NDArray[Any]) -> None:
        self._write(np.ascontiguousarray(array).data.cast("B"), self._offset(index))

    def buffer(self, index: int, array: npt.NDArray[Any]) -> None:
        self._memory[len(self._buffered)] = array
        self._buffered.append(index)

    def flush(self) -> None:
        size, memory = self.row.itemsize, self._memory.data.cast("B")
        for first, count in _runs(self._buffered):
            begin, offset = first * size, self._offset(self._buffered[first])
            data = memory[begin : begin + count * size]
            done = 0
            if begin % PAGE == offset % PAGE == len(data) % PAGE == 0:
                done = self._write_direct(data, offset)
            self._write(data[done:], offset + done)
        self._buffered.clear()

    @cached_property
    def _memory(self) -> npt.NDArray[Any]:
        """Buffered rows, page-aligned."""
        memory = mmap.mmap(-1, self.batch * self.row.itemsize)
        return np.frombuffer(memory, self.row.base).reshape(self.batch, *self.row.shape)

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def finish(self, moved: Sequence[tuple[int, int]], count: int) -> None:
        if os.fstat(self._descriptor).st_size > self._offset(count):
            for row, position in moved:
                self._write(memoryview(self._read(row)), self._offset(position))
            os.ftruncate(self._descriptor, self._offset(count))
        self._write(memoryview(self._header(count)), 0)

    def close(self) -> None:
        os.close(self._descriptor)
        if self._direct_descriptor is not None:
            os.close(self._direct_descriptor)

    def _offset(self, index: int) -> int:
        return PAGE + index * self.row.itemsize

    def _header(self, count: int) -> bytes:
        """An npy header of one page (numpy.lib.format, version 1.0)."""
        shape = (count, *self.row.shape)
        header = {"descr": self.row.base.str, "fortran_order": False, "shape": shape}
        begin = np.lib.format.magic(1, 0) + (PAGE - 10).to_bytes(2, "little")
        return begin + f"{header}".encode().ljust(PAGE - 11) + b"\n"

    def _read(self, row: int) -> bytes:
        return os.pread(self._descriptor, self.row.itemsize, self._offset(row))

    def _write_direct(self, data: memoryview, offset: int) -> int:
        """Write past the page cache. Returns the number of bytes written, 0 if not supported."""
        if self._direct_descriptor is None:
            return 0
        try:
            return os.pwrite(self._direct_descriptor, data, offset)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return 0

    def _write(self, data: memoryview, offset: int) -> None:
        while data:
            count = os.pwrite(self._descriptor, data, offset)
            data, offset = data[count:], offset + count


def _open_direct(path: Path) -> int | None:
    """A descriptor whose writes bypass the page cache, or None if that is not supported.

    The copy into the page cache takes longer than the write itself.
    """
    try:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_DIRECT)
    except (AttributeError, OSError):
        return None


def _runs(indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Runs of consecutive numbers: position of the first, and length.

    >>> list(_runs([4, 5, 6, 9, 10]))
    [(0, 3), (3, 2)]
    """
    first = 0
    for position in range(1, len(indices) + 1):
        if position == len(indices) or indices[position] != indices[position - 1] + 1:
            yield first, position - first
            first = position
