"""Runs trained one by one here, or side by side in processes of their own.

A worker process (`python -m morefromless.workers`) may die without taking the others along.
"""

import gc
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import Any

import torch

from morefromless import progress
from morefromless.config import RunConfig, from_flat, to_flat
from morefromless.devices import available_cores
from morefromless.errors import RunBusy
from morefromless.runs import Run, failure_reason

Outcome = tuple[RunConfig, str | None]
"""A run, and why it failed."""


def outcomes(
    configs: Sequence[RunConfig], workers: int, gpus: Sequence[str]
) -> Generator[Outcome, None, None]:
    """Each run, as its try ends, and why it failed, or None."""
    if workers == 1 and not gpus:
        for config in configs:
            yield config, _try(config)
        return
    # A GPU's runs have a process of their own even one by one: an error on the device can leave the
    # process that caused it without any GPU.
    yield from _side_by_side(configs, workers, gpus)


def _try(config: RunConfig) -> str | None:
    """Train one run, unless another process does; why it failed, or None."""
    gc.freeze()  # the half million objects of the libraries are no garbage of this run
    try:
        if Run(config.out).state != "running":
            train_run(config)
    except RunBusy:
        pass
    except Exception as error:
        return failure_reason(error)
    finally:
        # A trainer and its callbacks refer to each other, and keep all that a run has used. They
        # are few objects and much memory, so Python would let many runs pile up.
        gc.collect()
        gc.unfreeze()
        torch.cuda.empty_cache()
    return None


def train_run(config: RunConfig) -> None:
    """Train one run. Why it fails, where it does, is left in its folder (`Run.failure`), too."""
    # Importing Lightning takes longer than importing torch, and runs are planned without it.
    from morefromless.training.train import train

    run = Run(config.out)
    run.forgive()
    try:
        train(config)
    except RunBusy:
        raise
    except Exception as error:
        if run.failure is None:  # it failed before it began
            run.fail(error)
        raise


class _Worker:
    """A process that trains run after run: a line of JSON for each, and a line for its outcome."""

    def __init__(self, number: int, workers: int, gpus: Sequence[str]) -> None:
        # Its bar is a share of ours.
        environment = {**os.environ, progress.MODE: progress.mode()}
        if workers > 1:  # of PyTorch and NumPy both: together no more than there are cores
            environment["OMP_NUM_THREADS"] = str(max(1, available_cores() // workers))
        environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "morefromless.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def train(self, config: RunConfig) -> str | None:
        """Train a run there; why it failed, or None."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(to_flat(config)) + "\n")
            self.process.stdin.flush()
        except OSError:  # it died before
            return _death(self.process.wait())
        while (line := self.process.stdout.readline()).endswith("\n"):
            if not isinstance(reply := json.loads(line), list):
                return reply  # type: ignore[no-any-return]
            if report := progress.report():
                with suppress(OSError):  # a bar that cannot be written stops nothing
                    report(*reply)
        return _death(self.process.wait())

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def _side_by_side(
    configs: Sequence[RunConfig], workers: int, gpus: Sequence[str]
) -> Generator[Outcome, None, None]:
    """Outcomes as they come, from `workers` processes. One that dies fails the run that it had, and
    another takes its place. Closing the generator kills them all, and they end with this process.
    """
    waiting, outcomes = deque(configs), queue.Queue[Outcome]()
    started: list[_Worker] = []
    starting = threading.Lock()

    def serve(number: int) -> None:
        worker: _Worker | None = None
        while True:
            with starting:  # none is started once the generator is closed
                if not waiting:
                    break
                config = waiting.popleft()
                try:
                    if worker is None or not worker.alive:
                        worker = _Worker(number, workers, gpus)
                        started.append(worker)
                except OSError as error:  # no memory for a process, or too many files are open
                    outcomes.put((config, failure_reason(error)))
                    continue
            outcomes.put((config, worker.train(config)))
        if worker:
            worker.kill()  # so that it leaves its GPU

    for number in range(min(workers, len(configs))):
        threading.Thread(target=serve, args=(number,), daemon=True).start()
    try:
        for _ in configs:
            yield outcomes.get()
    finally:
        with starting:
            waiting.clear()
            for worker in started:
                worker.kill()


def _death(code: int) -> str:
    if code >= 0:
        return f"Its process ended by itself, with exit code {code}."
    name = next((s.name for s in signal.Signals if s == -code), f"signal {-code}")
    why = ", perhaps as memory ran out" if name == "SIGKILL" else ""
    return f"Its process was ended by {name}{why}."


def _serve() -> None:
    """In each worker: run after run, until the process that started it closes its input.

    A reply is a list, the progress of a run, or its outcome.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us, and kills us
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print does not belong among the replies
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os.kill(os.getpid(), signal.SIGKILL)  # who started us is gone

    threading.Thread(target=read, daemon=True).start()

    def reply(message: Any) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    with progress.reported_to(lambda *message: reply(message)):
        while True:
            config = from_flat(RunConfig, json.loads(lines.get()), "The worker's options")
            reply(_try(config))


if __name__ == "__main__":
    _serve()
