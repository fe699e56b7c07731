"""Parallel calls in threads or processes, with bounded memory."""

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
    """Yield results in order. At most `ahead` calls (default: 4 per worker) are pending."""
    return _in_order(ThreadPoolExecutor(workers), call, keys, ahead or 4 * workers)


def forked(
    call: Callable[[K], T], keys: Iterable[K], workers: int, ahead: int | None = None
) -> Iterator[T]:
    """Like `threaded`, but in forked processes (Linux).

    Only keys and results are pickled; `call` is not. The workers exit when this process exits, for
    any reason. Raises `WorkerError` if a worker was killed.
    """
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("fork"), initializer=_start_worker, initargs=(call,)
    )
    try:
        yield from _in_order(pool, _call_in_worker, keys, ahead or 4 * workers)
    except BrokenProcessPool as error:
        raise WorkerError(
            "A worker process was killed, perhaps because memory ran out; run the same command "
            "again with fewer --workers, and it resumes."
        ) from error


def _in_order(pool: Executor, call: Callable[[K], T], keys: Iterable[K], ahead: int) -> Iterator[T]:
    pending: deque[Future[T]] = deque()
    try:
        for key in keys:
            pending.append(pool.submit(call, key))
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


_call: Callable[[Any], Any]
"""The function that a worker process calls. Set in worker processes only."""


def _start_worker(call: Callable[[Any], Any]) -> None:
    global _call
    _call = call
    gc.freeze()  # else the collector writes to, and so copies, memory shared with the parent
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and stops the workers
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _call_in_worker(key: Any) -> Any:
    return _call(key)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
