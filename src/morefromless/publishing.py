"""Stores larger than the disk: publish them as shards at an address, and stream them from there."""

import io
import tarfile
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from morefromless import files
from morefromless.data.remote import MissingFile, Remote
from morefromless.data.shard_index import BLOCK, BYTES, FOLDER, INDEX, Shard, ShardIndex, shard_name
from morefromless.data.store import Store
from morefromless.data.store_files import tables
from morefromless.data.store_meta import parse_meta
from morefromless.data.store_shards import REMOTE, RemoteFacts
from morefromless.errors import ConfigError, DataError
from morefromless.progress import Bar

META_FILE = "meta.json"
MIN_CACHED_SHARDS = 32
"""Number of shards that training reads and prefetches at a time: the minimum size of a cache."""


def publish(store: Store, address: str, *, shard_bytes: int = BYTES) -> int:
    """Write a store in shards to a folder or to S3-compatible storage; return the number of shards.

    A shard has patches of one split, drawn at random, so that a few shards represent the split. If
    interrupted, the same call resumes. Raises `ConfigError` if the store is itself a published one
    or `address` holds another store, and `StorageError` if the storage refuses.
    """
    if store.shards is not None:
        raise ConfigError(f"{store.path} is already stored in shards; publish the original.")
    remote, meta = Remote(address), store.meta
    existing = remote.sizes("")
    if existing.keys() & {f"{name}.npy" for name in meta.arrays}:
        raise ConfigError(f"{remote.address} holds a store of whole arrays; give another address.")
    if META_FILE not in existing:
        remote.write(META_FILE, (store.path / META_FILE).read_bytes())
    elif _is_other_store(remote.read(META_FILE), store.hash):
        raise ConfigError(f"{remote.address} holds another store; give another address.")
    stride, offsets = layout(store)
    finished, shards = remote.sizes(FOLDER), []
    contents = list(_shuffled(store, max(1, shard_bytes // stride)))
    for number, rows in enumerate(Bar(contents, desc="publish", unit=" shards")):
        content, name = archive(store, rows), shard_name(number)
        if finished.get(name) != len(content):
            remote.write(f"{FOLDER}/{name}", content)
        digest = blake2b(content, digest_size=16).hexdigest()
        shards.append(Shard(bytes=len(content), blake2b=digest, patches=tuple(rows.tolist())))
    for table in tables(meta.files):
        remote.write(table, (store.path / table).read_bytes())
    index = ShardIndex(store=store.hash, stride=stride, offsets=offsets, shards=tuple(shards))
    remote.write(INDEX, msgspec.json.encode(index))
    return len(shards)


def stream(address: str, folder: Path, cache_gb: float) -> Store:
    """Create a store in `folder` whose patches stay at the address where it was published.

    The folder has the store's tables, and a cache of at most `cache_gb` 10⁹ bytes of the most
    recently read shards. Call again with another `cache_gb` to change the limit. Raises `DataError`
    if no store was published there, or if the folder holds something else; `ConfigError` if the
    cache is too small.
    """
    remote = Remote(address)
    try:
        index, meta = remote.read(INDEX), remote.read(META_FILE)
        facts = parse_meta(meta)
        shards = ShardIndex.parse(index, facts).shards
        copies = {table: remote.read(table) for table in tables(facts.files)}
    except (MissingFile, ValueError) as error:
        raise DataError(
            f"{remote.address} has no published store, or only a part of one; check the address, "
            "or run mfl publish STORE ADDRESS again."
        ) from error
    if _holds_other(folder, facts.hash):
        raise DataError(f"{folder} holds something else; choose another folder.")
    sizes = [shard.bytes for shard in shards]
    min_gb = min(MIN_CACHED_SHARDS * max(sizes), sum(sizes)) / 1e9
    if cache_gb < min_gb:
        raise ConfigError(
            f"--cache-gb {cache_gb:g} is less than training reads at a time; give {min_gb:.2g} or "
            "more."
        )
    remote_facts = RemoteFacts(address=remote.address, cache_gb=cache_gb)
    copies |= {REMOTE: msgspec.json.encode(remote_facts), INDEX: index, META_FILE: meta}
    for name, copy in copies.items():
        files.write_bytes(folder / name, copy)
    return Store.open(folder)


def layout(store: Store) -> tuple[int, dict[str, int]]:
    """Return the bytes from one patch of a shard to the next, and the offset of each array in a
    patch."""
    stride, offsets = 0, {}
    for name, array in store.arrays.items():
        size, values = len(_npy(array[0])), array[0].nbytes
        offsets[name] = stride + BLOCK + size - values
        stride += BLOCK + -(-size // BLOCK) * BLOCK
    return stride, offsets


def archive(store: Store, rows: npt.NDArray[np.int64]) -> bytes:
    """Build a shard of patches: a tar archive with reproducible bytes."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for row in rows.tolist():
            for name, array in store.arrays.items():
                content = _npy(array[row])
                member = tarfile.TarInfo(f"{row:09}.{name}.npy")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return target.getvalue()


def _npy(values: npt.NDArray[Any]) -> bytes:
    target = io.BytesIO()
    np.lib.format.write_array(target, values, version=(1, 0), allow_pickle=False)
    return target.getvalue()


def _shuffled(store: Store, size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the rows of each shard, at most `size` patches of one split, in ascending order."""
    random = np.random.default_rng(0)
    splits = store.table["split"].fillna("none").to_numpy()
    for split in sorted(set(splits)):
        rows = random.permutation(np.flatnonzero(splits == split))
        for part in np.array_split(rows, -(-len(rows) // size)):
            yield np.sort(part)


def _holds_other(folder: Path, store: str) -> bool:
    if not folder.exists() or not any(folder.iterdir()):
        return False
    if not all((folder / name).is_file() for name in (META_FILE, REMOTE)):
        return True
    return _is_other_store((folder / META_FILE).read_bytes(), store)


def _is_other_store(meta: bytes, store: str) -> bool:
    try:
        return parse_meta(meta).hash != store
    except ValueError:
        return True
