"""Arrays stored in shards, read from a file system or through a cache of limited size."""

import os
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from morefromless import files
from morefromless.data.remote import Remote
from morefromless.data.shard_index import FOLDER, ShardIndex, shard_name
from morefromless.data.store_meta import ArrayShape
from morefromless.files import StorageError

FETCHED_AT_ONCE = 4
"""Number of shards fetched in parallel: one connection rarely uses the whole bandwidth."""


class ShardedArray:
    """An array whose rows are in shards; it is read like a memory-mapped array."""

    def __init__(self, shards: "ShardReader", name: str, recorded: ArrayShape) -> None:
        self.shards, self.name = shards, name
        self.shape, self.dtype = recorded.shape, np.dtype(recorded.dtype)
        self.ndim = len(self.shape)
        self._rows = np.arange(len(self))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> npt.NDArray[Any]:
        """Rows of the array, in memory. Accepts every NumPy index of the first axis."""
        chosen = np.asarray(self._rows[rows])
        flat = chosen.reshape(-1)
        numbers = self.shards.number[flat]
        result = np.empty((len(flat), *self.shape[1:]), self.dtype)
        distinct = np.unique(numbers)
        for k, number in enumerate(distinct):
            self.shards.prefetch(distinct[k : k + FETCHED_AT_ONCE])
            there = np.flatnonzero(numbers == number)
            result[there] = self._shard(int(number))[self.shards.place[flat[there]]]
        return result.reshape(chosen.shape + self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        del copy
        return self[:].astype(dtype or self.dtype, copy=False)

    def _shard(self, number: int) -> npt.NDArray[Any]:
        """The array's rows in one shard, memory-mapped."""
        index, row = self.shards.index, self.shape[1:]
        within = np.empty(row, self.dtype).strides
        return np.ndarray(
            (len(index.shards[number].patches), *row),
            self.dtype,
            self.shards.mapped(number),
            index.offsets[self.name],
            (index.stride, *within),
        )


def reading_order(
    array: npt.NDArray[Any] | ShardedArray, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Permutation of the positions in `rows` that reads the array fastest.

    Shard by shard for a sharded array, else the order of `rows`.

    >>> reading_order(np.zeros(9), np.array([7, 3, 5])).tolist()
    [0, 1, 2]
    """
    if isinstance(array, ShardedArray):
        return np.argsort(array.shards.number[rows], kind="stable")
    return np.arange(len(rows))


class ShardReader:
    """The shards of a store: in `folder`, or at an address with a cache in `folder`.

    The cache holds up to `limit` bytes; the least recently used shard is removed first. Processes
    share the cache, so each shard is fetched once.
    """

    number: npt.NDArray[np.int64]
    """(N,) shard of each patch."""
    place: npt.NDArray[np.int64]
    """(N,) position of each patch in its shard."""

    def __init__(
        self,
        index: ShardIndex,
        folder: Path,
        remote: Remote | None = None,
        limit: int = 0,
    ) -> None:
        self.index, self.folder, self.remote, self.limit = index, folder, remote, limit
        self.number, self.place = index.places()
        self._process = 0

    def mapped(self, number: int) -> npt.NDArray[np.uint8]:
        """Memory-map the bytes of a shard. Raises `StorageError` if it is missing or damaged, or
        cannot be fetched."""
        while True:
            path = self._path(number)
            if self.remote is None and not self._is_there(number):
                raise StorageError(f"{path} is missing or damaged; publish the store again.")
            if self.remote is not None:
                self.prefetch([number])
                if fetching := self._fetching.get(number):
                    fetching.result()
            with suppress(FileNotFoundError):  # another process has just removed it to free space
                mapped = np.memmap(path, np.uint8, mode="r")
                if self.remote is not None:
                    os.utime(path)
                return mapped

    def prefetch(self, numbers: Iterable[int]) -> None:
        """Start fetching the shards that are not in the cache."""
        if self.remote is None:
            return
        if self._process != os.getpid():  # threads and locks do not survive a fork
            self._room, self._pool = threading.Lock(), ThreadPoolExecutor(FETCHED_AT_ONCE)
            self._fetching: dict[int, Future[None]] = {}
            self._process = os.getpid()  # last: another thread may check it at the same time
        for number in map(int, numbers):
            earlier = self._fetching.get(number)
            if (earlier is None or earlier.done()) and not self._is_there(number):
                self._fetching[number] = self._pool.submit(self._fetch, self.remote, number)

    def _path(self, number: int) -> Path:
        return self.folder / shard_name(number)

    def _is_there(self, number: int) -> bool:
        with suppress(OSError):
            return self._path(number).stat().st_size == self.index.shards[number].bytes
        return False

    def _fetch(self, remote: Remote, number: int) -> None:
        path, shard = self._path(number), self.index.shards[number]
        with files.raising_storage_errors(path):
            self.folder.mkdir(exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if self._is_there(number):  # fetched by another process
                return
            name = f"{FOLDER}/{path.name}"
            content = remote.read(name)
            if blake2b(content, digest_size=16).hexdigest() != shard.blake2b:
                raise StorageError(
                    f"{remote.address}/{name} is damaged ({len(content):,} of {shard.bytes:,} "
                    "bytes, and another hash); remove it there and publish the store again."
                )
            with self._room:
                self._make_room(shard.bytes)
                files.write_bytes(path, content)

    def _make_room(self, size: int) -> None:
        facts = [(path, path.stat()) for path in self.folder.glob("*.tar")]
        used = size + sum(stat.st_size for _, stat in facts)
        for path, stat in sorted(facts, key=lambda fact: fact[1].st_mtime_ns):
            if used <= self.limit:
                return
            path.unlink(missing_ok=True)
            used -= stat.st_size
