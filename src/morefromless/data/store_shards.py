"""The shards of a store folder: in the folder, or at the address that its `remote.json` names."""

import math
from pathlib import Path

import msgspec
import numpy as np

from morefromless.data.remote import Remote
from morefromless.data.shard_index import FOLDER, INDEX, ShardIndex
from morefromless.data.sharded import ShardReader
from morefromless.data.store_files import damaged
from morefromless.data.store_meta import StoreMeta
from morefromless.documents import read_json

REMOTE, CACHE = "remote.json", "cache"


class RemoteFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `remote.json` of a streamed store says."""

    address: str
    cache_gb: float
    """Bytes that the cache may take, in 10⁹."""


def open_shards(path: Path, meta: StoreMeta) -> ShardReader | None:
    """The shards of the store at `path`; None where its arrays are whole files.

    Raises `DataError` where their index is damaged or another store's. Nothing is fetched.
    """
    if not (path / INDEX).exists():
        return None
    try:
        index = parse_index((path / INDEX).read_bytes(), meta)
    except (OSError, ValueError) as error:
        raise damaged(path, INDEX) from error
    patches = _patches(meta)
    if not (path / REMOTE).exists():
        return ShardReader(index, patches, path / FOLDER)
    try:
        facts = read_json(path / REMOTE, RemoteFacts)
    except (OSError, ValueError) as error:
        raise damaged(path, REMOTE) from error
    limit = int(facts.cache_gb * 1e9)
    return ShardReader(index, patches, path / CACHE, Remote(facts.address), limit)


def parse_index(content: bytes, meta: StoreMeta) -> ShardIndex:
    """The bytes of a `shards.json` that belongs to a `meta.json`. Raises `ValueError`."""
    values = {
        name: math.prod(array.shape[1:]) * np.dtype(array.dtype).itemsize
        for name, array in meta.arrays.items()
    }
    index = ShardIndex.parse(content, values, _patches(meta))
    if index.store != meta.hash:
        raise ValueError("it belongs to another store")
    return index


def _patches(meta: StoreMeta) -> int:
    return next(iter(meta.arrays.values())).shape[0]
