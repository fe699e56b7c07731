"""Locks: a file is held by one process at a time, and is free again however that process ends."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from morefromless.files import explaining, now

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
            try:
                _acquire(lock, path)
            except FileNotFoundError:  # who held it has just removed the folder
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
        with suppress(OSError):  # a full disk: who it is, is for people
            path.write_text(f"process {os.getpid()} on {socket.gethostname()} since {now()}")
        yield True
    finally:
        lock.release()


def _acquire(lock: FileLock, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock.acquire(timeout=PATIENCE, poll_interval=0.02)


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
