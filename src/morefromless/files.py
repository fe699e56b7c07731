"""Files: written whole or not at all, held by one process at a time, and read only if regular.

A reader sees the old file or the new one, never a part: the new one is written beside it, brought
to the disk, and moved over it in one step. A lock is free again however its process ends. What
waits for a writer, or never ends, is not opened.
"""

import errno
import json
import os
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from morefromless.errors import DataError, UnreadablePatch

if TYPE_CHECKING:
    import pandas as pd


class StorageError(DataError):
    """A disk that is full, or a place that may not be written to."""


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
    write_text(path, table.map(_no_formula).to_csv(index=False))


def _no_formula(cell: Any) -> Any:
    formula = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{cell}" if formula else cell


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


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
        raise StorageError(f"{path} cannot be written: {reason}") from error


def _refusal(error: Exception, path: Path) -> str | None:
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "the place is not yours to write to; choose another one or change its permissions."
    if code in (errno.ENOTDIR, errno.EEXIST):
        return "a file stands where a folder is needed; choose another place."
    if code == errno.EISDIR:
        return "a folder stands where a file is needed; choose another place."
    if code == errno.ENAMETOOLONG:
        return "its name is too long; choose a shorter one."
    # Libraries that write for themselves (safetensors, torch) report a full disk in other types.
    if code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error) or _full(path):
        return "the disk is full; free some space or choose another place, and run again."
    return None


def _full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < 2**16
    except OSError:
        return False


# --------------------------------------------------------------------------------------------------
# Locks
# --------------------------------------------------------------------------------------------------

PATIENCE = 0.4
"""Seconds of trying: `is_locked` holds a lock for a moment, where somebody only looks."""


@contextmanager
def locked(path: Path) -> Iterator[bool | None]:
    """Lock the file at `path` for the block, and write into it who does.

    False where another process holds it, None where the file system has no locks. Raises
    `StorageError` where the file cannot be written.
    """
    lock = FileLock(path)
    try:
        with explaining(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=PATIENCE, poll_interval=0.02)
    except Timeout:
        yield False
        return
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        yield None
        return
    try:
        with suppress(OSError):  # a full disk: who it is, is for people
            path.write_text(f"process {os.getpid()} on {socket.gethostname()} since {now()}")
        yield True
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock at `path`; False where that cannot be known."""
    if not path.is_file():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def holder(path: Path) -> str:
    """Who holds the lock at `path`, or did so last: `process 123 on host since ...`."""
    with suppress(OSError):
        return path.read_text(errors="replace") or "another process"
    return "another process"


def now() -> str:
    """The time here, as people and programs read it: 2026-01-31T12:00:00+01:00."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


# --------------------------------------------------------------------------------------------------
# Regular files
# --------------------------------------------------------------------------------------------------

LARGEST = 2**28
"""Bytes that one image's file may have, packed or unpacked: a thousand times what a tile takes."""


def read_bytes(path: Path) -> bytes:
    """A file's bytes. Raises `OSError`, for a folder, a pipe or a device too: it waits for none."""
    with _opened(path) as file:
        return file.read()


def _opened(path: Path) -> IO[bytes]:
    # Without waiting for whoever would write into a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegular(errno.EINVAL, "a folder, a pipe or a device stands there", str(path))
    return os.fdopen(descriptor, "rb")


class NotRegular(OSError):
    """A folder, a pipe or a device in a file's place."""


def open_regular(path: Path) -> IO[bytes]:
    """A file, opened to read bytes. Raises `UnreadablePatch` for folders, pipes and devices."""
    try:
        return _opened(path)
    except FileNotFoundError as error:
        raise UnreadablePatch(f"no segmentation: there is no {path.name}; fetch it") from error
    except NotRegular as error:
        raise UnreadablePatch(
            f"not a file: {path.name} is a folder, a pipe or a device; remove it"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "an odd name"
        raise UnreadablePatch(
            f"unreadable: {path.name} cannot be opened ({reason}); check its permissions"
        ) from error


def read_regular(path: Path) -> bytes:
    """A file's bytes. Raises `UnreadablePatch` where it is not there, empty or too large."""
    with open_regular(path) as file:
        data = file.read(LARGEST + 1)
    if not data:
        raise UnreadablePatch(f"empty file: {path.name} has 0 bytes; fetch it again")
    if len(data) > LARGEST:
        raise too_large(path)
    return data


def too_large(path: Path) -> UnreadablePatch:
    return UnreadablePatch(
        f"too large: {path.name} holds more than {LARGEST >> 20} MiB; export each image by itself"
    )
