"""Atomic writes of files.

A reader sees the old file or the new one, never a part. The new file is written in the same folder,
synced to disk, and renamed over the old one.
"""

import errno
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from hashlib import blake2b, file_digest
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import msgspec

from morefromless.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd


class StorageError(DataError):
    """The disk is full, or the path is not writable."""


class NotWritable(StorageError):
    """The path is not writable."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; it is renamed to `path` when the block ends without
    error.

    If the block raises, `path` is unchanged and the temporary file is removed. Raises
    `StorageError` if the disk is full or the path is not writable.
    """
    temporary = path.with_name(f".{path.name}.{_machine()}-{os.getpid()}.partial")
    try:
        with raising_storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep_once(path.parent.absolute())
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
    finally:  # after `raising_storage_errors` has checked for a full disk
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


STALE_SECONDS = 3600.0
"""Seconds after which a partial file that is not written to counts as abandoned."""


def sweep(folder: Path, min_age: float = STALE_SECONDS) -> None:
    """Remove partial files of killed processes from a folder. A file is removed immediately if its
    process has exited, one hour after the last write if the process exists, and otherwise after
    `min_age` seconds."""
    for path in folder.glob(".*.partial"):
        with suppress(OSError):
            alive = _writer_alive(path)
            limit = STALE_SECONDS if alive else min_age
            if alive is False or time.time() - path.stat().st_mtime >= limit:
                path.unlink()


_sweep_once = cache(sweep)


def _writer_alive(path: Path) -> bool | None:
    """Whether the process that writes a file exists; None if it is on another machine."""
    machine, _, process = path.name.split(".")[-2].partition("-")
    if machine != _machine() or not process.isdigit():
        return None
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


@cache
def _machine() -> str:
    """Return four digits that distinguish machines with a shared folder."""
    return blake2b(socket.gethostname().encode(), digest_size=2).hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Write a table, without its index.

    A text cell that starts like a formula gets a `'` prefix, so that a spreadsheet does not
    evaluate it, because ids and classes come from foreign files.
    """
    write_text(path, without_formulas(table).to_csv(index=False))


def without_formulas(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the table as `write_csv` writes it; numbers keep their type."""
    safe = table.copy()
    for name in table.select_dtypes(exclude="number"):
        safe[name] = table[name].map(_escape_formula)
    return safe


def _escape_formula(cell: Any) -> Any:
    formula = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{cell}" if formula else cell


def write_json(path: Path, value: Any) -> None:
    """Write `value`, which may contain dataclasses, to `path` as indented JSON, atomically. Numbers
    that are not finite become null, because JSON cannot represent them."""
    try:
        text = _to_json(value, allow_nan=False)
    except ValueError:
        text = _to_json(json.loads(_to_json(value), parse_constant=lambda _: None))
    write_text(path, text + "\n")


def _to_json(value: Any, allow_nan: bool = True) -> str:
    return json.dumps(
        value, indent=2, ensure_ascii=False, allow_nan=allow_nan, default=msgspec.to_builtins
    )


def file_hash(path: Path) -> str:
    """blake2b-128 of a file's bytes."""
    with path.open("rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()


def sync(path: Path) -> None:
    """Sync a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def raising_storage_errors(path: Path) -> Iterator[None]:
    """Convert errors of the disk in this block to a `StorageError` of one sentence."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = _storage_reason(error, path)
        if reason is None:
            raise
        kind = NotWritable if reason == NO_PERMISSION else StorageError
        raise kind(f"{path} cannot be written: {reason}") from error


def nearest_existing(path: Path) -> Path:
    """Return the path, or the nearest parent folder that exists."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def check_writable(folder: Path, option: str = "--out") -> None:
    """Raise `ConfigError` if a folder, which need not exist yet, is not writable. Call it before
    long work."""
    try:
        with TemporaryFile(dir=nearest_existing(folder)):
            pass
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written to ({error.strerror}); choose another place with {option}."
        ) from error


def check_space(
    folder: Path, size: int, advice: str = "free some space, or choose another place"
) -> None:
    """Raise `StorageError` if the disk of a folder has less than `size` bytes free."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise StorageError(
            f"{folder} needs {size / 1e9:.3g} GB but the disk has {free / 1e9:.3g} GB free; "
            f"{advice}."
        )


NO_PERMISSION = (
    "you have no write permission there; choose another place or change its permissions."
)


def _storage_reason(error: Exception, path: Path) -> str | None:
    # Libraries that write files themselves (safetensors, torch) raise other types.
    code, words = error.errno if isinstance(error, OSError) else None, str(error)
    denied = ("Permission denied", "Read-only file system")
    if code in (errno.EACCES, errno.EPERM, errno.EROFS) or any(word in words for word in denied):
        return NO_PERMISSION
    if code in (errno.ENOTDIR, errno.EEXIST):
        return "a file exists where a folder is needed; choose another place."
    if code == errno.EISDIR:
        return "a folder exists where a file is needed; choose another place."
    if code == errno.ENAMETOOLONG:
        return "its name is too long; choose a shorter one."
    if code == errno.EFBIG or "File too large" in words:
        return "it exceeds the limit on file size; raise the limit (ulimit -f)."
    if code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in words or _disk_full(path):
        return "the disk is full; free some space or choose another place, and run again."
    return None


def _disk_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < 2**16
    except OSError:
        return False


def now() -> str:
    """Return the local time in ISO 8601: 2026-01-31T12:00:00+01:00."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
