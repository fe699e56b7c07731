"""Runs, many at once: those that are not done are trained, each in a folder that resumes.

Runs meet only on the disk. A run is held by a lock while a process trains it, what failed says why
in its folder, and what was interrupted goes on; so two commands over one folder share the work.
Several runs at once are trained by worker processes (`python -m morefromless.runner`), each of
which may die without taking the others along.
"""

import gc
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from morefromless import progress
from morefromless.branches import untrained_network
from morefromless.config import RunConfig, from_flat, to_flat
from morefromless.devices import available_gpus
from morefromless.errors import ConfigError, RunBusy, TrainingError
from morefromless.progress import Bar
from morefromless.runs import Run, State, reason
from morefromless.training.train import train

POLL = 5.0
"""Seconds between two looks at runs that other processes train."""

Outcome = tuple[RunConfig, str | None]
"""A run, and why it failed."""


def run_all(configs: Sequence[RunConfig], jobs: int = 0) -> None:
    """Train what is not done, each run once, however many studies share it.

    `jobs` side by side; 0 is one a GPU, or one a CPU core where there is none. A run that fails,
    in whatever way, does not keep the others from being tried. A run that another process trains
    is waited for; what that one leaves is taken on.

    Raises `ConfigError` before anything is trained where the disk has no room for it, and
    `TrainingError` at the end, naming the runs that failed and why the first did.
    """
    configs = unique(configs)
    waiting = [config for config in configs if not Run(config.out).done]
    for config in configs:
        Run(config.out).sweep()
    if not waiting:
        return
    gpus = available_gpus("cpu" if all(c.machine.device == "cpu" for c in waiting) else "auto")
    workers = min(jobs or len(gpus) or os.cpu_count() or 1, len(waiting))
    check_disk(waiting, workers)
    failed: list[Outcome] = []
    done = len(configs) - len(waiting)
    counted = (
        "{desc}: {percentage:3.0f}%|{bar}| {n:.1f} of {total} [{elapsed}<{remaining}{postfix}]"
    )
    with (
        Bar(total=len(configs), initial=done, desc="runs", unit="runs", bar_format=counted) as bar,
        progress.reported_to(bar.part),
    ):
        while waiting:
            elsewhere = []
            with closing(_outcomes(waiting, workers, gpus)) as outcomes:
                for config, failure in outcomes:
                    run = Run(config.out)
                    if failure is None and not run.done:
                        elsewhere.append(config)
                        continue
                    if failure is not None and not run.done:
                        failed.append((config, failure))
                        if run.failure != failure:  # its process died
                            run.fail(failure)
                    bar.finish(config.out.name)
            waiting = _wait(elsewhere, failed, bar)
    if failed:
        names = ", ".join(config.out.name for config, _ in failed[:3])
        names += f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise TrainingError(
            f"{len(failed)} of {len(configs)} runs failed ({names}); the first because: "
            f"{str(failed[0][1]).rstrip('.')}. The others are kept: run the command again to go on."
        )


def unique(configs: Iterable[RunConfig]) -> list[RunConfig]:
    """Each run once, in the order given."""
    return list({config.out: config for config in configs}.values())


def train_run(config: RunConfig) -> None:
    """Train one run. Why it fails, where it does, is left in its folder (`Run.failure`), too."""
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


@dataclass(frozen=True)
class RunStatus:
    """One run, as its folder alone tells."""

    name: str
    state: State
    detail: str
    """Why it failed, which process trains it, which job it waits for; else empty."""


def status(runs: Iterable[Run], jobs: Mapping[Path, str] | None = None) -> list[RunStatus]:
    """Every run once, in the order given; `jobs` has the cluster's number of those that wait."""
    jobs = jobs or {}
    statuses = []
    for run in {run.path: run for run in runs}.values():
        state = run.state
        words = [{"failed": run.failure, "running": run.trainer}.get(state)]
        if state != "done" and run.path in jobs:
            words.append(f"job {jobs[run.path]}")
        statuses.append(RunStatus(run.path.name, state, ", ".join(filter(None, words))))
    return statuses


def needed_bytes(configs: Sequence[RunConfig], at_once: int = 1) -> int:
    """Bytes that these runs will yet write, about: weights that stay, and two checkpoints of
    weights and Adam's two moments of each run that is trained side by side."""
    # Seeds have no bearing on it, so runs that differ in no more are measured once.
    waiting = [config for config in configs if not Run(config.out).done]
    alike = [replace(config, seed=0, out=Path()) for config in waiting]
    measured = {config: _network_bytes(config) for config in dict.fromkeys(alike)}
    sizes = [measured[config] for config in alike]
    return sum(sizes) + sum(sorted(sizes, reverse=True)[:at_once]) * 6


def _network_bytes(config: RunConfig) -> int:
    tensors = untrained_network(config).state_dict().values()
    return sum(int(tensor.nbytes) for tensor in tensors)


def check_disk(configs: Sequence[RunConfig], at_once: int) -> None:
    """Raise `ConfigError` where the disk has no room for what these runs will yet write."""
    needed = needed_bytes(configs, at_once)
    folder = configs[0].out.absolute()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise ConfigError(
            f"The runs need up to {needed / 1e9:,.2f} GB, and the disk of {folder.parent} has "
            f"{free / 1e9:,.2f} GB left; free some space, or give another --out."
        )


def _outcomes(
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
    try:
        if Run(config.out).state != "running":
            train_run(config)
    except RunBusy:
        pass
    except Exception as error:
        return reason(error)
    finally:
        # A trainer and its callbacks refer to each other, and keep all that a run has used. They
        # are few objects and much memory, so Python would let many runs pile up.
        gc.collect()
        torch.cuda.empty_cache()
    return None


def _wait(elsewhere: list[RunConfig], failed: list[Outcome], bar: Bar) -> list[RunConfig]:
    """Wait for runs that other processes train, until they are done or failed, or one of them was
    given up; those that then remain."""
    remaining = elsewhere
    while remaining:
        states = [(config, Run(config.out).state) for config in remaining]
        remaining = [config for config, state in states if state not in ("done", "failed")]
        for config, state in states:
            if state in ("done", "failed"):
                bar.finish(config.out.name)
        failed += [(c, str(Run(c.out).failure)) for c, state in states if state == "failed"]
        if any(state in ("begun", "waiting") for _, state in states):
            break
        bar.show_shares(f"{len(remaining)} trained by another process" if remaining else "")
        time.sleep(POLL if remaining else 0)
    return remaining


# --------------------------------------------------------------------------------------------------
# Workers
# --------------------------------------------------------------------------------------------------


class _Worker:
    """A process that trains run after run: a line of JSON for each, and a line for its outcome."""

    def __init__(self, number: int, workers: int, gpus: Sequence[str]) -> None:
        self.number = number
        threads = max(1, (os.cpu_count() or 1) // workers) if workers > 1 else 0
        # Its bar is a share of ours.
        environment = {**os.environ, progress.MODE: progress.mode()}
        environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "morefromless.runner", str(threads)],
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
            while isinstance(reply := json.loads(self.process.stdout.readline()), list):
                if report := progress.report():
                    report(*reply)
            return reply  # type: ignore[no-any-return]
        except (OSError, ValueError):  # it died
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

    def serve(number: int) -> None:
        worker: _Worker | None = None
        while True:
            try:
                config = waiting.popleft()
            except IndexError:
                break
            if worker is None or not worker.alive:
                worker = _Worker(number, workers, gpus)
                started.append(worker)
            outcomes.put((config, worker.train(config)))
        if worker:
            worker.kill()  # so that it leaves its GPU

    for number in range(min(workers, len(configs))):
        threading.Thread(target=serve, args=(number,), daemon=True).start()
    try:
        for _ in configs:
            yield outcomes.get()
    finally:
        waiting.clear()
        for worker in started:
            worker.kill()


def _death(code: int) -> str:
    if code >= 0:
        return f"Its process ended by itself, with exit code {code}."
    name = signal.Signals(-code).name
    why = ", perhaps as memory ran out" if name == "SIGKILL" else ""
    return f"Its process was ended by {name}{why}."


def _serve(threads: int) -> None:
    """In each worker: run after run, until the process that started it closes its input.

    A reply is a list, the progress of a run, or its outcome.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us, and kills us
    if threads:
        torch.set_num_threads(threads)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print does not belong among the replies
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os.kill(os.getpid(), signal.SIGKILL)  # who started us is gone

    threading.Thread(target=read, daemon=True).start()

    def reply(*message: Any) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    with progress.reported_to(reply):
        while True:
            config = from_flat(RunConfig, json.loads(lines.get()), "The worker's options")
            replies.write(json.dumps(_try(config)) + "\n")
            replies.flush()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
