"""`shards.json` of a published store: the shard of each patch, and its position in the shard.

A shard is a tar archive in WebDataset format, `shards/000000.tar` and so on. It holds one .npy file
per patch and array, named after the patch's row, for example `000000012.he.npy`. All patches have
the same size, so an array of a shard is a view of the memory-mapped file.
"""

import math
from typing import Annotated, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from morefromless.data.store_meta import Count, StoreMeta
from morefromless.documents import parse_json

INDEX_FILE, SHARD_FOLDER = "shards.json", "shards"
SHARD_BYTES = 2**25
"""Approximate size of a shard in bytes: 220 patches of 224 px."""
TAR_BLOCK = 512
"""Block size of a tar archive in bytes: headers take one block, and files start at multiples."""


class Shard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One shard: its size, hash and patches."""

    bytes: Count
    blake2b: str
    patches: tuple[Count, ...]
    """Rows of the store's table, in the order of the shard."""


class ShardIndex(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of `shards.json`."""

    format: Literal[1] = 1
    store: str
    """Hash of the store that was published."""
    stride: Annotated[int, msgspec.Meta(gt=0)]
    """Bytes from one patch to the next."""
    offsets: dict[str, Count]
    """Bytes from the start of a patch to the values of each array."""
    shards: tuple[Shard, ...]

    @classmethod
    def parse(cls, content: bytes, meta: StoreMeta) -> "ShardIndex":
        """Parse the bytes of a `shards.json`.

        Raises `ValueError` if it does not belong to `meta`, does not list each patch exactly once,
        or if a patch or shard is too small for its arrays.
        """
        index = parse_json(content, cls)
        if index.store != meta.hash:
            raise ValueError("it belongs to another store")
        shape = next(iter(meta.arrays.values())).shape
        rows = np.array([row for shard in index.shards for row in shard.patches], np.int64)
        if not np.array_equal(np.sort(rows), np.arange(shape[0])):
            raise ValueError("its shards do not list each patch exactly once")
        if index.offsets.keys() != meta.arrays.keys():
            raise ValueError("its arrays differ from those of meta.json")
        for name, array in meta.arrays.items():
            size = math.prod(array.shape[1:]) * np.dtype(array.dtype).itemsize
            if index.offsets[name] + size > index.stride:
                raise ValueError("a patch is too small for its arrays")
        if any(len(shard.patches) * index.stride > shard.bytes for shard in index.shards):
            raise ValueError("a shard is too small for its patches")
        return index

    def positions(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The shard of each patch, and its position in the shard: (patches,) each."""
        patches = sum(len(shard.patches) for shard in self.shards)
        number, position = np.empty((2, patches), np.int64)
        for k, shard in enumerate(self.shards):
            rows = list(shard.patches)
            number[rows], position[rows] = k, np.arange(len(rows))
        return number, position


def shard_name(number: int) -> str:
    """A shard's file name.

    >>> shard_name(7)
    '000007.tar'
    """
    return f"{number:06}.tar"
