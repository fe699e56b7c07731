"""The shards of a store: in its folder, or at the address in its `remote.json`."""

from pathlib import Path

import msgspec

from morefromless.data.remote import Remote
from morefromless.data.shard_index import INDEX_FILE, SHARD_FOLDER, ShardIndex
from morefromless.data.sharded import ShardReader
from morefromless.data.store_files import damaged_file
from morefromless.data.store_meta import StoreMeta
from morefromless.documents import read_json

REMOTE, CACHE = "remote.json", "cache"


class RemoteFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of `remote.json` of a streamed store."""

    address: str
    cache_gb: float
    """Size limit of the cache in GB (10⁹ bytes)."""


def open_shards(path: Path, meta: StoreMeta) -> ShardReader | None:
    """Open the shards of the store at `path`; None if each array is one file.

    Raises `DataError` if the index is damaged or belongs to another store. Nothing is fetched.
    """
    if not (path / INDEX_FILE).exists():
        return None
    try:
        index = ShardIndex.parse((path / INDEX_FILE).read_bytes(), meta)
    except (OSError, ValueError) as error:
        raise damaged_file(path, INDEX_FILE) from error
    if not (path / REMOTE).exists():
        return ShardReader(index, path / SHARD_FOLDER)
    try:
        facts = read_json(path / REMOTE, RemoteFacts)
    except (OSError, ValueError) as error:
        raise damaged_file(path, REMOTE) from error
    limit = int(facts.cache_gb * 1e9)
    return ShardReader(index, path / CACHE, Remote(facts.address), limit)
