"""Calls side by side, in threads or in processes, with bounded memory."""

import gc
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from morefromless.errors import WorkerError

K = TypeVar("K")
T = TypeVar("T")


def threaded(
    call: Callable[[K], T], keys: Iterable[K], workers: int, ahead: int | None = None
) -> Iterator[T]:
    """Results in order; never more than `ahead` (by default four a worker) are waiting."""
    return _in_order(ThreadPoolExecutor(workers), call, keys, ahead or 4 * workers)


def forked(
    call: Callable[[K], T], keys: Iterable[K], workers: int, ahead: int | None = None
) -> Iterator[T]:
    """`threaded`, in processes that begin as copies of this one (Linux).

    `call` itself is not sent there, only keys and results are. The processes end with this one,
    however it ends. Raises `WorkerError` where one of them was killed.
    """
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("fork"), initializer=_begin, initargs=(call,)
    )
    try:
        yield from _in_order(pool, _called, keys, ahead or 4 * workers)
    except BrokenProcessPool as error:
        raise WorkerError(
            "A worker process was killed, perhaps as memory ran out; run again, with fewer "
            "--workers, and it goes on."
        ) from error


def _in_order(pool: Executor, call: Callable[[K], T], keys: Iterable[K], ahead: int) -> Iterator[T]:
    waiting: deque[Future[T]] = deque()
    try:
        for key in keys:
            waiting.append(pool.submit(call, key))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


_call: Callable[[Any], Any]
"""In a worker process: what it was started for."""


def _begin(call: Callable[[Any], Any]) -> None:
    global _call
    _call = call
    gc.freeze()  # the parent's objects stay in memory that is shared with it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _called(key: Any) -> Any:
    return _call(key)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
