"""Start forked copies of the test process, and wait for them."""

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch


def start_process(work: Callable[[], object]) -> int:
    """Run `work` in a forked process; return its id. It exits with 0, or 1 after an exception."""
    process = os.fork()
    if process:
        return process
    try:
        torch.set_num_threads(1)  # a fork does not copy PyTorch's threads and would wait for them
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def exit_status(work: Callable[[], object]) -> int:
    """Run `work` in a forked process; return its status from `os.waitpid`."""
    return os.waitpid(start_process(work), 0)[1]


@contextmanager
def child(work: Callable[[], object]) -> Iterator[int]:
    """Run `work` in a forked process, and kill it at the end if it still runs."""
    process = start_process(work)
    try:
        yield process
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


@contextmanager
def holding(lock: Callable[[], AbstractContextManager[object]]) -> Iterator[int]:
    """Start a forked process that holds `lock()` until it is killed."""
    reader, writer = os.pipe()

    def hold() -> None:
        with lock():
            os.write(writer, b".")
            time.sleep(60)

    with child(hold) as process:
        assert os.read(reader, 1) == b"."
        yield process
    os.close(reader)
    os.close(writer)


def alive(process: int) -> bool:
    """Whether a process, a child or an orphan, still runs and is not a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition: Callable[[], object], seconds: float = 200) -> None:
    """Wait until the condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
