"""`shards.json` of a published store: which patches stand in which shard, and where in it.

A shard is a tar archive as WebDataset has it, `shards/000000.tar` and so on: for each patch one
.npy file per array, named by the patch's row, as `000000012.he.npy`. All patches take equal room,
so that an array of a shard is a view of the mapped file.
"""

import math
from typing import Annotated, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from morefromless.data.store_meta import Count, StoreMeta
from morefromless.documents import parse_json

INDEX, FOLDER = "shards.json", "shards"
BYTES = 2**25
"""Bytes of a shard, about: 220 patches of 224 px."""
BLOCK = 512
"""A tar archive's files begin at multiples of it, each after a header of as many bytes."""


class Shard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One shard, and what its bytes are compared with."""

    bytes: Count
    blake2b: str
    patches: tuple[Count, ...]
    """Rows of the store's table, in the order of the shard."""


class ShardIndex(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `shards.json` says."""

    format: Literal[1] = 1
    store: str
    """Hash of the store that was published."""
    stride: Annotated[int, msgspec.Meta(gt=0)]
    """Bytes from one patch to the next."""
    offsets: dict[str, Count]
    """Bytes from where a patch begins to the values of each array."""
    shards: tuple[Shard, ...]

    @classmethod
    def parse(cls, content: bytes, meta: StoreMeta) -> "ShardIndex":
        """The bytes of a `shards.json`. Raises `ValueError` unless it belongs to `meta`, has each
        patch once, and room in each for its arrays."""
        index = parse_json(content, cls)
        if index.store != meta.hash:
            raise ValueError("it belongs to another store")
        shape = next(iter(meta.arrays.values())).shape
        rows = np.array([row for shard in index.shards for row in shard.patches], np.int64)
        if not np.array_equal(np.sort(rows), np.arange(shape[0])):
            raise ValueError("its shards do not have each patch once")
        if index.offsets.keys() != meta.arrays.keys():
            raise ValueError("its arrays are not those of meta.json")
        for name, array in meta.arrays.items():
            size = math.prod(array.shape[1:]) * np.dtype(array.dtype).itemsize
            if index.offsets[name] + size > index.stride:
                raise ValueError("a patch has less room than its arrays take")
        if any(len(shard.patches) * index.stride > shard.bytes for shard in index.shards):
            raise ValueError("a shard has less room than its patches take")
        return index

    def places(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Each patch's shard, and its place in it: (patches,) both."""
        patches = sum(len(shard.patches) for shard in self.shards)
        number, place = np.empty((2, patches), np.int64)
        for k, shard in enumerate(self.shards):
            rows = list(shard.patches)
            number[rows], place[rows] = k, np.arange(len(rows))
        return number, place


def shard_name(number: int) -> str:
    """A shard's file name.

    >>> shard_name(7)
    '000007.tar'
    """
    return f"{number:06}.tar"
