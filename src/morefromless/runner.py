"""Runs, many at once: those that are not done are trained, each in a folder that resumes.

Runs meet only on the disk. A run is held by a lock while a process trains it, what failed says why
in its folder, and what was interrupted goes on; so two commands over one folder share the work.
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
from morefromless.errors import ConfigError, TrainingError
from morefromless.files import existing
from morefromless.network_size import network_bytes
from morefromless.progress import Bar
from morefromless.runs import Run, State
from morefromless.workers import Outcome, outcomes

PLANNED = "planned.json"
"""The folders of a study's runs, relative to the study's."""
POLL = 5.0
"""Seconds between two looks at runs that other processes train."""


def run_all(configs: Sequence[RunConfig], jobs: int = 0) -> None:
    """Train what is not done, each run once, however many studies share it.

    `jobs` side by side; 0 is one a GPU, or one a CPU core where there is none. A run that fails,
    in whatever way, does not keep the others from being tried. A run that another process trains
    is waited for; what that one leaves is taken on.

    Raises `ConfigError` before anything is trained where the disk has no room for it, or a GPU is
    asked for and there is none, and `TrainingError` at the end, naming the runs that failed and
    why the first did.
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
    counted = (
        "{desc}: {percentage:3.0f}%|{bar}| {n:.1f} of {total} [{elapsed}<{remaining}{postfix}]"
    )
    with (
        Bar(total=len(configs), initial=done, desc="runs", unit="runs", bar_format=counted) as bar,
        progress.reported_to(bar.part),
    ):
        while waiting:
            busy = []
            with closing(outcomes(waiting, workers, gpus)) as ended:
                for config, failure in ended:
                    run = Run(config.out)
                    if failure is None and not run.done:
                        busy.append(config)
                        continue
                    if failure is not None and not run.done:
                        failed.append((config, failure))
                        if run.failure != failure:  # its process died
                            run.fail(failure)
                    bar.finish(config.out.name)
            waiting = _wait(busy, failed, bar)
    if failed:
        names = ", ".join(config.out.name for config, _ in failed[:3])
        names += f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise TrainingError(
            f"{len(failed)} of {len(configs)} runs failed ({names}); the first because: "
            f"{str(failed[0][1]).rstrip('.')}. The others are kept: run the command again to go on."
        )


def save_planned(configs: Sequence[RunConfig], folder: Path) -> None:
    """Write which runs a study in `folder` has, for `mfl status`: those that wait have no folder
    yet."""
    paths = [os.path.relpath(config.out, folder) for config in unique(configs)]
    files.write_json(folder / PLANNED, paths)


def planned(folder: Path) -> list[Path]:
    """The folders of the runs that `save_planned` wrote, without `..`. Raises `ConfigError` where
    it is damaged."""
    try:
        paths = read_json(folder / PLANNED, list[str])
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{folder / PLANNED} is damaged ({error}); run mfl compare again."
        ) from error
    return [Path(os.path.normpath(folder / path)) for path in paths]


def unique(configs: Iterable[RunConfig]) -> list[RunConfig]:
    """Each run once, in the order given."""
    return list({config.out: config for config in configs}.values())


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
    sizes = [network_bytes(replace(config, seed=0, out=Path())) for config in waiting]
    return sum(sizes) + sum(sorted(sizes, reverse=True)[:at_once]) * 6


def check_disk(configs: Sequence[RunConfig], at_once: int) -> None:
    """Raise `ConfigError` where the disk has no room for what these runs will yet write."""
    needed = needed_bytes(configs, at_once)
    folder = configs[0].out.absolute()
    free = shutil.disk_usage(existing(folder)).free
    if needed > free:
        raise ConfigError(
            f"The runs need up to {needed / 1e9:,.2f} GB, and the disk of {folder.parent} has "
            f"{free / 1e9:,.2f} GB left; free some space, or give another --out."
        )


def _wait(busy: list[RunConfig], failed: list[Outcome], bar: Bar) -> list[RunConfig]:
    """Wait for runs that other processes train, until they are done or failed, or one of them was
    given up; those that then remain."""
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
        time.sleep(POLL if remaining else 0)
    return remaining
