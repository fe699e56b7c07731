"""Train many runs in parallel; finished runs are skipped, interrupted ones resume.

Runs share nothing but the disk. A process holds a run's lock while it trains the run. A failed run
stores the reason in its folder. So two commands on one folder share the work.
"""

import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from morefromless import files, progress
from morefromless.config import RunConfig
from morefromless.devices import available_cores, available_gpus
from morefromless.documents import read_json
from morefromless.errors import ConfigError, TrainingError, first_few
from morefromless.files import nearest_existing
from morefromless.network_size import network_bytes
from morefromless.progress import Bar
from morefromless.runs import PLANNED_FILE, Run, State
from morefromless.workers import Outcome, outcomes

POLL_SECONDS = 5.0
"""Seconds between two checks of runs that other processes train."""


def run_all(configs: Sequence[RunConfig], jobs: int = 0) -> None:
    """Train the runs that are not done, each once, also if several studies share it.

    `jobs` is the number of runs in parallel; 0 is one per GPU, or one per CPU core without a GPU.
    If a run fails, the others are still trained. If another process trains a run, this function
    waits for it, and trains the run itself if that process stops before it is done.

    Raises `ConfigError` before anything is trained if the disk has too little space, or if a GPU is
    requested and there is none. Raises `TrainingError` at the end if runs failed; it names them,
    and the reason of the first.
    """
    configs = unique(configs)
    waiting = [config for config in configs if not Run(config.out).done]
    for config in configs:
        Run(config.out).sweep()
    if not waiting:
        return
    gpus = max((available_gpus(device) for device in {c.machine.device for c in waiting}), key=len)
    workers = min(jobs or len(gpus) or available_cores(), len(waiting))
    check_disk(waiting, workers)
    failed: list[Outcome] = []
    done = len(configs) - len(waiting)
    bar_format = (
        "{desc}: {percentage:3.0f}%|{bar}| {n:.1f} of {total} [{elapsed}<{remaining}{postfix}]"
    )
    with (
        Bar(
            total=len(configs), initial=done, desc="runs", unit="runs", bar_format=bar_format
        ) as bar,
        progress.reported_to(bar.update_task),
    ):
        while waiting:
            busy = []
            with closing(outcomes(waiting, workers, gpus)) as finished:
                for config, failure in finished:
                    run = Run(config.out)
                    if failure is None and not run.done:
                        busy.append(config)
                        continue
                    if failure is not None and not run.done:
                        failed.append((config, failure))
                        if run.failure != failure:  # the process died
                            run.fail(failure)
                    bar.finish(config.out.name)
            waiting = _wait(busy, failed, bar)
    if failed:
        names = first_few(config.out.name for config, _ in failed)
        raise TrainingError(
            f"{len(failed)} of {len(configs)} runs failed ({names}). Reason of the first: "
            f"{str(failed[0][1]).rstrip('.')}. The other runs are kept; run the command again to "
            "resume."
        )


def save_planned(configs: Sequence[RunConfig], folder: Path) -> None:
    """Write the list of a study's runs to `folder`, for `mfl status`: waiting runs have no folder
    yet."""
    paths = [os.path.relpath(config.out, folder) for config in unique(configs)]
    files.write_json(folder / PLANNED_FILE, paths)


def planned_folders(folder: Path) -> list[Path]:
    """Return the folders of the runs that `save_planned` wrote, without `..`. Raises `ConfigError`
    if the file is damaged."""
    try:
        paths = read_json(folder / PLANNED_FILE, list[str])
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{folder / PLANNED_FILE} is damaged ({error}); run mfl compare again."
        ) from error
    return [Path(os.path.normpath(folder / path)) for path in paths]


def unique(configs: Iterable[RunConfig]) -> list[RunConfig]:
    """Remove duplicate runs; keep the order."""
    return list({config.out: config for config in configs}.values())


@dataclass(frozen=True)
class RunStatus:
    """State of one run, read from its folder."""

    name: str
    state: State
    detail: str
    """Why the run failed, which process trains it, or which job it waits for; else empty."""


def status(runs: Iterable[Run], jobs: Mapping[Path, str] | None = None) -> list[RunStatus]:
    """Return the state of every run once, in order; `jobs` has the cluster's job number by run
    folder."""
    jobs = jobs or {}
    statuses = []
    for run in {run.path: run for run in runs}.values():
        state = run.state
        words = [{"failed": run.failure, "running": run.trainer}.get(state)]
        if state != "done" and run.path in jobs:
            words.append(f"job {jobs[run.path]}")
        statuses.append(RunStatus(run.path.name, state, ", ".join(filter(None, words))))
    return statuses


def needed_bytes(configs: Sequence[RunConfig], parallel: int = 1) -> int:
    """Estimate the bytes that these runs still write. This is the weights of each run, plus two
    checkpoints of weights and Adam's two moments for each run that is trained in parallel."""
    # The seed does not change the size, so runs that differ only in the seed are measured once.
    waiting = [config for config in configs if not Run(config.out).done]
    sizes = [network_bytes(replace(config, seed=0, out=Path())) for config in waiting]
    return sum(sizes) + sum(sorted(sizes, reverse=True)[:parallel]) * 6


def check_disk(configs: Sequence[RunConfig], parallel: int) -> None:
    """Raise `ConfigError` if the disk has too little space for what these runs still write."""
    needed = needed_bytes(configs, parallel)
    folder = configs[0].out.absolute()
    free = shutil.disk_usage(nearest_existing(folder)).free
    if needed > free:
        raise ConfigError(
            f"The runs need up to {needed / 1e9:,.2f} GB, but the disk of {folder.parent} has "
            f"{free / 1e9:,.2f} GB left; free some space, or give another --out."
        )


def _wait(busy: list[RunConfig], failed: list[Outcome], bar: Bar) -> list[RunConfig]:
    """Wait for runs that other processes train, until they are done or failed, or one of these
    processes stops; return the runs that remain."""
    remaining = busy
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
        time.sleep(POLL_SECONDS if remaining else 0)
    return remaining
