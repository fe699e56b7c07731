"""Locks between processes, and how they end."""

import errno
import fcntl
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from morefromless.files import StorageError
from morefromless.locks import holder, is_locked, locked
from tests.processes import begin, holding


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "lock"


def test_one_process_at_a_time(path: Path) -> None:
    assert not is_locked(path)
    assert holder(path) == "another process"
    with holding(lambda: locked(path)) as process:
        assert is_locked(path)
        who, since = holder(path).split(" since ")
        assert who == f"process {process} on {socket.gethostname()}"
        assert abs(datetime.fromisoformat(since).timestamp() - time.time()) < 60
        with locked(path) as got:
            assert got is False
        assert holder(path).startswith(who)  # who may not, does not write
    assert not is_locked(path)  # the lock of a killed process is gone
    with locked(path) as got:
        assert got is True
        with locked(path) as again:
            assert again is False
    assert not is_locked(path)
    assert holder(path).startswith(f"process {os.getpid()} on ")  # the last one


def test_a_child_of_a_killed_process_does_not_keep_its_lock(path: Path) -> None:
    orphan = path.with_name("orphan")

    @contextmanager
    def locked_with_a_child() -> Iterator[None]:
        with locked(path):
            # As a process that loads patches.
            orphan.write_text(str(begin(lambda: time.sleep(60))))
            yield

    with holding(locked_with_a_child):
        assert is_locked(path)
    forked = int(orphan.read_text())
    try:
        os.kill(forked, 0)  # it lives
        assert not is_locked(path)
    finally:
        os.kill(forked, signal.SIGKILL)


def test_who_only_looks_keeps_nobody_out(path: Path) -> None:
    with locked(path):
        pass
    file = path.open("rb")
    fcntl.flock(file, fcntl.LOCK_SH)  # as `is_locked` does
    threading.Timer(0.1, file.close).start()
    with locked(path) as got:
        assert got is True
        assert file.closed


def test_a_file_system_without_locks_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with locked(path) as got:
        assert got is None
        assert not is_locked(path)


def test_the_folder_that_is_removed_meanwhile_is_made_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire, removed = FileLock.acquire, []

    def late(lock: FileLock, **options: float) -> None:
        if not removed:  # by who held the lock
            removed.append(path.parent.rmdir())
        acquire(lock, **options)

    monkeypatch.setattr(FileLock, "acquire", late)
    with locked(path) as free:
        assert free
    assert removed


def test_a_place_that_may_not_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match="a file exists where a folder is needed"),
        locked(tmp_path / "file" / "lock"),
    ):
        pass
