"""Processes that begin as copies of a test, and waiting for them."""

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch


def begin(work: Callable[[], object]) -> int:
    """Do `work` in a process of its own; its id. It ends with status 0, or 1 after an exception."""
    process = os.fork()
    if process:
        return process
    try:
        torch.set_num_threads(1)  # PyTorch's threads are not copied: it would wait for them
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def status_of(work: Callable[[], object]) -> int:
    """How a process that does `work` ends, as `os.waitpid` says it."""
    return os.waitpid(begin(work), 0)[1]


@contextmanager
def child(work: Callable[[], object]) -> Iterator[int]:
    """A process of its own that does `work`; killed at the end, where it is not over."""
    process = begin(work)
    try:
        yield process
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


@contextmanager
def holding(lock: Callable[[], AbstractContextManager[object]]) -> Iterator[int]:
    """A process of its own that is inside of `lock()` until it is killed."""
    ready, inside = os.pipe()

    def hold() -> None:
        with lock():
            os.write(inside, b".")
            time.sleep(60)

    with child(hold) as process:
        assert os.read(ready, 1) == b"."
        yield process
    os.close(ready)
    os.close(inside)


def alive(process: int) -> bool:
    """Whether a process, ours or an orphan, is neither gone nor merely not yet buried."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition: Callable[[], object], seconds: float = 200) -> None:
    """Wait until it is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
