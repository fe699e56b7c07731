"""Locks: a file that one process holds, and that is free again however that process ends."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from morefromless.data.atomic import explaining

_held: set[BinaryIO] = set()


def _let_go() -> None:
    for file in _held:
        file.close()


# A child, forked to load patches, would otherwise keep a lock whose process was killed.
os.register_at_fork(after_in_child=_let_go)


@contextmanager
def locked(path: Path) -> Iterator[bool | None]:
    """Lock the file at `path` for the block, and write into it who does.

    False where another process holds it, None where the file system has no locks. Raises
    `StorageError` where the file cannot be made.
    """
    with explaining(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b", buffering=0)
    with file:
        got = _lock(file)
        if got is False:
            yield False
            return
        _held.add(file)
        try:
            with suppress(OSError):  # a full disk: who it is, is for people
                file.truncate(0)
                file.write(
                    f"process {os.getpid()} on {socket.gethostname()} since {now()}".encode()
                )
            yield got
        finally:
            _held.discard(file)


def _lock(file: BinaryIO) -> bool | None:
    for _ in range(20):  # `is_locked` holds it for a moment, where somebody only looks
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:
            return None
    return False


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock at `path`; False where that cannot be known."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def holder(path: Path) -> str:
    """Who holds the lock at `path`, or did so last: `process 123 on host since ...`."""
    with suppress(OSError):
        return path.read_text(errors="replace") or "another process"
    return "another process"


def now() -> str:
    """The time here, as people and programs read it: 2026-01-31T12:00:00+01:00."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
