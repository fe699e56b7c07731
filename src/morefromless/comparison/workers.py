"""Work side by side in processes, each of which may die without taking the others' with it."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal, TypeVar

import torch

from morefromless.training.progress import BAR_POSITION

Item = TypeVar("Item")

START: Literal["spawn"] = "spawn"
"""How processes begin: a fork would share PyTorch's threads and its hold on a GPU."""


def side_by_side(
    work: Callable[[Item], str | None],
    items: Sequence[Item],
    workers: int,
    gpus: Sequence[str] = (),
) -> Generator[tuple[Item, str | None], None, None]:
    """What `work` says of each item, as they end: nothing, or why it failed.

    Every process has its share of the cores, a line for its progress bar and, of `gpus` as
    CUDA_VISIBLE_DEVICES names them, its own as far as they go round. One that dies fails the item
    that it had, and another takes its place. Closing the iterator kills them all, as an exception
    in it does, and they die with this process.
    """
    waiting = deque(items)
    started: list[BaseProcess] = []
    busy: dict[Connection, tuple[int, BaseProcess, Item]] = {}

    def give(number: int, process: BaseProcess, pipe: Connection) -> None:
        item = waiting.popleft()
        with suppress(OSError):  # it is dead, as will be seen
            pipe.send(item)
        busy[pipe] = (number, process, item)

    def start(number: int) -> None:
        process, pipe = _start(work, number, workers, gpus)
        started.append(process)
        give(number, process, pipe)

    try:
        for number in range(min(workers, len(items))):
            start(number)
        while busy:
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                number, process, item = busy.pop(pipe)
                try:
                    said = pipe.recv()
                    if waiting:
                        give(number, process, pipe)
                    else:
                        pipe.close()  # upon which it ends, and leaves its GPU
                except (EOFError, OSError):
                    process.join()
                    said = _died(process.exitcode)
                    if waiting:
                        start(number)
                yield item, said
    finally:
        for process in started:
            process.kill()
            process.join()


def _start(
    work: Callable[[Any], str | None], number: int, workers: int, gpus: Sequence[str]
) -> tuple[BaseProcess, Connection]:
    context = multiprocessing.get_context(START)
    ours, theirs = context.Pipe()
    threads = max(1, (os.cpu_count() or 1) // workers) if workers > 1 else 0  # PyTorch's choice
    process = context.Process(target=_serve, args=(work, theirs, threads))
    variables = {BAR_POSITION: str(number + 1)}
    if gpus:
        variables["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    with _environment(variables):  # from its beginning, as PyTorch reads it but once
        process.start()
    theirs.close()  # so that ours says when the process is no more
    return process, ours


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(work: Callable[[Any], str | None], pipe: Connection, threads: int) -> None:
    """In each process: item after item, until it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us, and kills us
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if threads:
        torch.set_num_threads(threads)
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        pipe.send(work(item))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)


def _died(code: int | None) -> str:
    if code is None or code >= 0:
        return f"Its process ended by itself, with exit code {code}."
    name = signal.Signals(-code).name
    why = ", perhaps as memory ran out" if name == "SIGKILL" else ""
    return f"Its process was ended by {name}{why}."
