"""Files written whole or not at all.

A reader sees the old file or the new one, never a part: the new one is written beside it, brought
to the disk, and moved over it in one step.
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
    """A disk that is full, or a place that may not be written to."""


class NotWritable(StorageError):
    """A place that may not be written to."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it becomes `path` when the block ends well.

    Where the block raises, `path` is as it was and the temporary file is gone. Raises
    `StorageError` where the disk is full or the place may not be written to.
    """
    temporary = path.with_name(f".{path.name}.{_machine()}-{os.getpid()}.partial")
    try:
        with explaining(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep_once(path.parent.absolute())
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
    finally:  # after a full disk was found to be full
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


HOUR = 3600.0
"""Seconds in which a file that is being written is written to."""


def sweep(folder: Path, older: float = HOUR) -> None:
    """Remove what killed processes left half-written in a folder: at once where the process is
    known to be gone, an hour after it was last written to where it lives, else after `older`
    seconds."""
    for path in folder.glob(".*.partial"):
        with suppress(OSError):
            lives = _writer_lives(path)
            limit = HOUR if lives else older
            if lives is False or time.time() - path.stat().st_mtime >= limit:
                path.unlink()


@cache
def _sweep_once(folder: Path) -> None:
    sweep(folder)


def _writer_lives(path: Path) -> bool | None:
    """Whether the process that writes a file is there; None where it is not one of this machine."""
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
    """Four digits that tell machines apart, which share folders and not processes."""
    return blake2b(socket.gethostname().encode(), digest_size=2).hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """A table, without its index.

    A cell of text that begins as a formula does gets a `'` before it, so that a spreadsheet shows
    it and does not compute it: ids and classes come from other people's files.
    """
    write_text(path, without_formulas(table).to_csv(index=False))


def without_formulas(table: "pd.DataFrame") -> "pd.DataFrame":
    """The table as `write_csv` writes it; numbers keep their type."""
    safe = table.copy()
    for name in table.select_dtypes(exclude="number"):
        safe[name] = table[name].map(_no_formula)
    return safe


def _no_formula(cell: Any) -> Any:
    formula = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{cell}" if formula else cell


def write_json(path: Path, value: Any) -> None:
    """Write `value`, dataclasses included, to `path` as indented JSON, whole or not at all. What is
    no finite number becomes null, for JSON has no other word for it."""
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
    """Bring a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn what a disk refuses in this block into a `StorageError` of one sentence."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = _refusal(error, path)
        if reason is None:
            raise
        kind = NotWritable if reason == NOT_YOURS else StorageError
        raise kind(f"{path} cannot be written: {reason}") from error


def existing(path: Path) -> Path:
    """The path, or the nearest of the folders that it is to lie in that is there."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def check_writable(folder: Path, option: str = "--out") -> None:
    """Raise `ConfigError` where a folder, which need not exist yet, may not be written to: before
    there is anything to write."""
    try:
        with TemporaryFile(dir=existing(folder)):
            pass
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written to ({error.strerror}); choose another place with {option}."
        ) from error


def check_space(
    folder: Path, size: int, advice: str = "free some space, or choose another place"
) -> None:
    """Raise `StorageError` where the disk of a folder has less than `size` bytes free."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise StorageError(
            f"{folder} needs {size / 1e9:.3g} GB and the disk has {free / 1e9:.3g} GB free; "
            f"{advice}."
        )


NOT_YOURS = "the place is not yours to write to; choose another one or change its permissions."


def _refusal(error: Exception, path: Path) -> str | None:
    # Libraries that write for themselves (safetensors, torch) report refusals in other types.
    code, words = error.errno if isinstance(error, OSError) else None, str(error)
    denied = ("Permission denied", "Read-only file system")
    if code in (errno.EACCES, errno.EPERM, errno.EROFS) or any(word in words for word in denied):
        return NOT_YOURS
    if code in (errno.ENOTDIR, errno.EEXIST):
        return "a file stands where a folder is needed; choose another place."
    if code == errno.EISDIR:
        return "a folder stands where a file is needed; choose another place."
    if code == errno.ENAMETOOLONG:
        return "its name is too long; choose a shorter one."
    if code == errno.EFBIG or "File too large" in words:
        return "it is larger than a file may be here; raise the limit (ulimit -f)."
    if code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in words or _full(path):
        return "the disk is full; free some space or choose another place, and run again."
    return None


def _full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < 2**16
    except OSError:
        return False


def now() -> str:
    """The time here, as people and programs read it: 2026-01-31T12:00:00+01:00."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
