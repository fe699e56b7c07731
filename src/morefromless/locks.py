"""File locks: one process holds a lock at a time, and any end of that process releases it."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from morefromless.files import now, raising_storage_errors

TIMEOUT_SECONDS = 0.4
"""Seconds to wait for a lock, because `is_locked` also holds it for a moment."""


@contextmanager
def locked(path: Path) -> Iterator[bool | None]:
    """Lock the file at `path` for the block, and write the holder's process into it.

    Yields False if another process holds it, None if the file system has no locks. Raises
    `StorageError` if the file cannot be written.
    """
    lock = FileLock(path)
    try:
        with raising_storage_errors(path):
            try:
                _acquire(lock, path)
            except FileNotFoundError:  # the last holder has just removed the folder
                _acquire(lock, path)
    except Timeout:
        yield False
        return
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        yield None
        return
    try:
        with suppress(OSError):  # on a full disk; the text is only information
            path.write_text(f"process {os.getpid()} on {socket.gethostname()} since {now()}")
        yield True
    finally:
        lock.release()


def _acquire(lock: FileLock, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock.acquire(timeout=TIMEOUT_SECONDS, poll_interval=0.02)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock at `path`; False if that is unknown."""
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
    """Return the current or last holder of the lock at `path`: `process 123 on host since ...`."""
    with suppress(OSError):
        return path.read_text(errors="replace") or "another process"
    return "another process"
