"""Train runs one by one in this process, or in parallel worker processes.

If one worker process (`python -m morefromless.workers`) dies, the others continue.
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
"""A run, and why it failed, or None."""


def outcomes(
    configs: Sequence[RunConfig], workers: int, gpus: Sequence[str]
) -> Generator[Outcome, None, None]:
    """Train the runs; yield each run when it ends, and why it failed, or None."""
    if workers == 1 and not gpus:
        for config in configs:
            yield config, _try(config)
        return
    # Runs on a GPU use a separate process even one by one: an error on the device can leave the
    # process that caused it without any GPU.
    yield from _parallel_outcomes(configs, workers, gpus)


def _try(config: RunConfig) -> str | None:
    """Train one run, unless another process trains it; return why it failed, or None."""
    gc.freeze()  # half a million objects of libraries are not this run's garbage
    try:
        if Run(config.out).state != "running":
            train_run(config)
    except RunBusy:
        pass
    except Exception as error:
        return failure_reason(error)
    finally:
        # A trainer and its callbacks refer to each other, so they keep the run's data alive. They
        # are few objects with much memory, so Python alone would collect them too late.
        gc.collect()
        gc.unfreeze()
        torch.cuda.empty_cache()
    return None


def train_run(config: RunConfig) -> None:
    """Train one run. If it fails, the reason is also stored in its folder (`Run.failure`)."""
    # Importing Lightning takes longer than importing torch, and planning runs does not need it.
    from morefromless.training.train import train

    run = Run(config.out)
    run.clear_failure()
    try:
        train(config)
    except RunBusy:
        raise
    except Exception as error:
        if run.failure is None:  # it failed before training began
            run.fail(error)
        raise


class _Worker:
    """A process that trains runs in turn: it reads one JSON line per run, and writes one line per
    outcome."""

    def __init__(self, number: int, workers: int, gpus: Sequence[str]) -> None:
        # The worker reports its progress to this process's bar.
        environment = {**os.environ, progress.MODE_VARIABLE: progress.mode()}
        if workers > 1:  # of PyTorch and NumPy: all workers together use at most all cores
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
        """Train a run in the worker; return why it failed, or None."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(to_flat(config)) + "\n")
            self.process.stdin.flush()
        except OSError:  # the worker died earlier
            return _exit_reason(self.process.wait())
        while (line := self.process.stdout.readline()).endswith("\n"):
            if not isinstance(reply := json.loads(line), list):
                return reply  # type: ignore[no-any-return]
            if report := progress.report():
                with suppress(OSError):  # ignore a bar that cannot be written
                    report(*reply)
        return _exit_reason(self.process.wait())

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def _parallel_outcomes(
    configs: Sequence[RunConfig], workers: int, gpus: Sequence[str]
) -> Generator[Outcome, None, None]:
    """Yield outcomes of `workers` processes in order of completion. If a process dies, its run
    fails and a new process replaces it. Closing the generator kills all processes. They also end
    with this process.
    """
    waiting, outcomes = deque(configs), queue.Queue[Outcome]()
    started: list[_Worker] = []
    lock = threading.Lock()

    def serve(number: int) -> None:
        worker: _Worker | None = None
        while True:
            with lock:  # start none after the generator was closed
                if not waiting:
                    break
                config = waiting.popleft()
                try:
                    if worker is None or not worker.alive:
                        worker = _Worker(number, workers, gpus)
                        started.append(worker)
                except OSError as error:  # out of memory, or too many open files
                    outcomes.put((config, failure_reason(error)))
                    continue
            outcomes.put((config, worker.train(config)))
        if worker:
            worker.kill()  # frees its GPU

    for number in range(min(workers, len(configs))):
        threading.Thread(target=serve, args=(number,), daemon=True).start()
    try:
        for _ in configs:
            yield outcomes.get()
    finally:
        with lock:
            waiting.clear()
            for worker in started:
                worker.kill()


def _exit_reason(code: int) -> str:
    if code >= 0:
        return f"Its process exited with code {code}."
    name = next((s.name for s in signal.Signals if s == -code), f"signal {-code}")
    why = ", perhaps because memory ran out" if name == "SIGKILL" else ""
    return f"Its process was killed by {name}{why}."


def _serve() -> None:
    """Main loop of a worker: train runs until the parent process closes standard input.

    A reply is either the progress of a run, as a list, or the run's outcome.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and kills workers
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keep output of libraries out of the replies
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os.kill(os.getpid(), signal.SIGKILL)  # the parent process has exited

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
