"""An npy file written row by row, then closed up and shortened."""

import errno
import io
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from morefromless.data.atomic import StorageError, explaining

HEADER = 128
"""Bytes before the first row. NumPy leaves room for the row count to grow, so it never varies."""


class Rows:
    """Patches of one array on their way to disk: row i is item i of the listing.

    `row` is what each of them holds, shape and all, as `np.dtype((np.uint8, (64, 64, 3)))` says it.

    The space for all rows is taken at the start, so that a full disk is found before anything is
    decoded. Rows are written and not mapped: a mapped page that finds the disk full kills.
    """

    def __init__(self, path: Path, row: np.dtype[Any]) -> None:
        self.path, self.row = path, row
        self._descriptor = os.open(path, os.O_RDWR)

    @staticmethod
    def reserve(path: Path, count: int, row: np.dtype[Any]) -> None:
        """Make a file with room for `count` rows. Raises `StorageError` where there is none."""
        size = HEADER + count * row.itemsize
        with explaining(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                os.posix_fallocate(descriptor, 0, size)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    free = shutil.disk_usage(path.parent).free
                    raise StorageError(
                        f"{path} needs {size / 1e9:.3g} GB and the disk has {free / 1e9:.3g} GB "
                        "free; free some space, choose another place, or give a smaller --resize."
                    ) from error
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
                os.ftruncate(descriptor, size)  # a file system that cannot reserve
            finally:
                os.close(descriptor)

    def write(self, index: int, patch: npt.NDArray[Any]) -> None:
        """Write one patch, which must be what a row holds."""
        assert (patch.dtype, patch.shape) == (self.row.base, self.row.shape)
        self._put(HEADER + index * self.row.itemsize, patch.tobytes())

    def flush(self) -> None:
        """Bring all that was written to the disk."""
        with explaining(self.path):
            os.fdatasync(self._descriptor)

    def move(self, moves: Iterable[tuple[int, int]]) -> None:
        """Copy rows, given as (from, to). Doing it again after a kill does no harm."""
        for source, target in moves:
            size = self.row.itemsize
            self._put(
                HEADER + target * size, os.pread(self._descriptor, size, HEADER + source * size)
            )

    def shorten(self, count: int) -> None:
        """Make the first `count` rows the whole of a valid npy file."""
        header = io.BytesIO()
        shape = (count, *self.row.shape)
        np.lib.format.write_array_header_1_0(
            header, {"descr": self.row.base.str, "fortran_order": False, "shape": shape}
        )
        assert header.tell() == HEADER
        self._put(0, header.getvalue())
        os.ftruncate(self._descriptor, HEADER + count * self.row.itemsize)
        self.flush()

    def close(self) -> None:
        os.close(self._descriptor)

    def _put(self, offset: int, data: bytes) -> None:
        with explaining(self.path):
            rest = memoryview(data)
            while rest:
                written = os.pwrite(self._descriptor, rest, offset)
                rest, offset = rest[written:], offset + written
