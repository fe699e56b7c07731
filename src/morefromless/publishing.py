"""Stores larger than the disk: published as shards at an address, and streamed from there."""

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

META = "meta.json"
IN_USE = 32
"""Shards that training reads at a time, with those that it fetches ahead: the least that a cache
holds."""


def publish(store: Store, address: str, *, shard_bytes: int = BYTES) -> int:
    """Write a store to a folder or to S3-compatible storage, in shards; returns their number.

    A shard has patches of one split, drawn at random, so that a few shards are as mixed as the
    split is. Interrupted, the same call goes on. Raises `ConfigError` where the store is published
    itself or `address` holds another one, `StorageError` where the storage refuses.
    """
    if store.shards is not None:
        raise ConfigError(f"{store.path} has its patches in shards already; publish the original.")
    remote, meta = Remote(address), store.meta
    there = remote.sizes("")
    if there.keys() & {f"{name}.npy" for name in meta.arrays}:
        raise ConfigError(f"{remote.address} holds a store of whole arrays; give another address.")
    if META not in there:
        remote.write(META, (store.path / META).read_bytes())
    elif _other(remote.read(META), store.hash):
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
    """A store in `folder` whose patches stay at the address where it was published.

    The folder has its tables, and a cache of up to `cache_gb` 10⁹ bytes of the shards read last.
    The same call with another `cache_gb` changes that. Raises `DataError` where no store was
    published there, or the folder holds something else; `ConfigError` for too small a cache.
    """
    remote = Remote(address)
    try:
        index, meta = remote.read(INDEX), remote.read(META)
        facts = parse_meta(meta)
        shards = ShardIndex.parse(index, facts).shards
        copies = {table: remote.read(table) for table in tables(facts.files)}
    except (MissingFile, ValueError) as error:
        raise DataError(
            f"{remote.address} has no published store, or a part of one; check the address, or run "
            "mfl publish STORE ADDRESS again."
        ) from error
    if _holds_other(folder, facts.hash):
        raise DataError(f"{folder} holds something else; choose another folder.")
    sizes = [shard.bytes for shard in shards]
    least = min(IN_USE * max(sizes), sum(sizes)) / 1e9
    if cache_gb < least:
        raise ConfigError(
            f"--cache-gb {cache_gb:g} is less than training reads at a time; give {least:.2g} or "
            "more."
        )
    place = RemoteFacts(address=remote.address, cache_gb=cache_gb)
    copies |= {REMOTE: msgspec.json.encode(place), INDEX: index, META: meta}
    for name, copy in copies.items():
        files.write_bytes(folder / name, copy)
    return Store.open(folder)


def layout(store: Store) -> tuple[int, dict[str, int]]:
    """Bytes from one patch of a shard to the next, and from where it begins to each array."""
    stride, offsets = 0, {}
    for name, array in store.arrays.items():
        size, values = len(_npy(array[0])), array[0].nbytes
        offsets[name] = stride + BLOCK + size - values
        stride += BLOCK + -(-size // BLOCK) * BLOCK
    return stride, offsets


def archive(store: Store, rows: npt.NDArray[np.int64]) -> bytes:
    """The shard of some patches: a tar archive, the same bytes whenever it is made."""
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
    """Rows of each shard, of up to `size` patches of one split, in ascending order."""
    random = np.random.default_rng(0)
    splits = store.table["split"].fillna("none").to_numpy()
    for split in sorted(set(splits)):
        rows = random.permutation(np.flatnonzero(splits == split))
        for part in np.array_split(rows, -(-len(rows) // size)):
            yield np.sort(part)


def _holds_other(folder: Path, store: str) -> bool:
    if not folder.exists() or not any(folder.iterdir()):
        return False
    if not all((folder / name).is_file() for name in (META, REMOTE)):
        return True
    return _other((folder / META).read_bytes(), store)


def _other(meta: bytes, store: str) -> bool:
    try:
        return parse_meta(meta).hash != store
    except ValueError:
        return True
