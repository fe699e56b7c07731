"""Locks between processes, and how they are released."""

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
from tests.processes import holding, start_process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "lock"


def test_only_one_process_holds_a_lock(path: Path) -> None:
    assert not is_locked(path)
    assert holder(path) == "another process"
    with holding(lambda: locked(path)) as process:
        assert is_locked(path)
        owner, since = holder(path).split(" since ")
        assert owner == f"process {process} on {socket.gethostname()}"
        assert abs(datetime.fromisoformat(since).timestamp() - time.time()) < 60
        with locked(path) as acquired:
            assert acquired is False
        assert holder(path).startswith(owner)  # without the lock, nothing is written
    assert not is_locked(path)  # the lock of a killed process is released
    with locked(path) as acquired:
        assert acquired is True
        with locked(path) as acquired_again:
            assert acquired_again is False
    assert not is_locked(path)
    assert holder(path).startswith(f"process {os.getpid()} on ")  # the last holder


def test_child_of_a_killed_process_does_not_keep_the_lock(path: Path) -> None:
    orphan = path.with_name("orphan")

    @contextmanager
    def locked_with_a_child() -> Iterator[None]:
        with locked(path):
            # Like a process that loads patches.
            orphan.write_text(str(start_process(lambda: time.sleep(60))))
            yield

    with holding(locked_with_a_child):
        assert is_locked(path)
    orphan_id = int(orphan.read_text())
    try:
        os.kill(orphan_id, 0)  # it still runs
        assert not is_locked(path)
    finally:
        os.kill(orphan_id, signal.SIGKILL)


def test_checking_a_lock_does_not_block_it(path: Path) -> None:
    with locked(path):
        pass
    file = path.open("rb")
    fcntl.flock(file, fcntl.LOCK_SH)  # as `is_locked` does
    threading.Timer(0.1, file.close).start()
    with locked(path) as acquired:
        assert acquired is True
        assert file.closed


def test_file_system_without_locks_gives_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", raise_no_locks)
    with locked(path) as acquired:
        assert acquired is None
        assert not is_locked(path)


def test_removed_folder_of_a_lock_is_created_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire, removed = FileLock.acquire, []

    def acquire_late(lock: FileLock, **options: float) -> None:
        if not removed:  # by the process that held the lock
            removed.append(path.parent.rmdir())
        acquire(lock, **options)

    monkeypatch.setattr(FileLock, "acquire", acquire_late)
    with locked(path) as acquired:
        assert acquired
    assert removed


def test_invalid_lock_path_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match="a file exists where a folder is needed"),
        locked(tmp_path / "file" / "lock"),
    ):
        pass
