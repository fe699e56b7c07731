"""Carrying out a plan: the runs that are not done, some side by side, with progress."""

import gc
import os
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, Protocol

import torch
from tqdm import tqdm

from morefromless.comparison.disk import check_disk
from morefromless.comparison.workers import side_by_side
from morefromless.errors import RunBusy, TrainingError
from morefromless.options import PretrainOptions, SuperviseOptions
from morefromless.runs import Run, reason
from morefromless.training.pretrain import pretrain
from morefromless.training.progress import BAR_POSITION
from morefromless.training.supervised import supervise

POLL = 5.0
"""Seconds between two looks at runs that other processes train."""


class Planned(Protocol):
    """A run that is wanted, and the options that train it."""

    @property
    def options(self) -> PretrainOptions | SuperviseOptions: ...

    @property
    def run(self) -> Run: ...


def execute(planned: Sequence[Planned], jobs: int = 0) -> None:
    """Train what is not done, each run once, however many tables want it.

    `jobs` side by side; 0 is one a GPU, or one a CPU core where there is none. A run that fails,
    in whatever way, does not keep the others from being tried. A run that another process trains
    is waited for, so that two plans of one folder share the work; what that one leaves is taken on.

    Raises `ConfigError` before anything is trained where the disk has no room for it, and
    `TrainingError` at the end, naming the runs that failed and why the first did.
    """
    runs = list({one.run.path: one for one in planned}.values())
    todo = [one for one in runs if not one.run.done]
    for one in runs:
        one.run.sweep()
    if not todo:
        return
    gpus = gpus_at_hand() if any(one.options.device != "cpu" for one in todo) else []
    workers = min(jobs or len(gpus) or os.cpu_count() or 1, len(todo))
    check_disk(runs, workers)
    failed: list[tuple[Planned, str]] = []
    with tqdm(
        total=len(runs), initial=len(runs) - len(todo), desc="runs", unit="run", dynamic_ncols=True
    ) as bar:
        while todo:
            elsewhere = []
            with closing(_tried(todo, workers, gpus)) as outcomes:
                for one, said in outcomes:
                    if said is None and not one.run.done:
                        elsewhere.append(one)
                        continue
                    if said is not None and not one.run.done:
                        failed.append((one, said))
                        if one.run.failure != said:  # its process died
                            one.run.fail(said)
                    bar.update()
            todo = _left(elsewhere, failed, bar)
    if failed:
        names = ", ".join(one.run.path.name for one, _ in failed[:3])
        names += f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise TrainingError(
            f"{len(failed)} of {len(runs)} runs failed ({names}); the first because: "
            f"{failed[0][1].rstrip('.')}. The others are kept: run the command again to go on."
        )


def train(one: Planned) -> None:
    """Train one run. Why it fails, where it does, is left in its folder (`Run.failure`), too."""
    one.run.forgive()
    try:
        if isinstance(one.options, PretrainOptions):
            pretrain(one.options)
        else:
            supervise(one.options)
    except RunBusy:
        raise
    except Exception as error:
        if one.run.failure is None:  # it failed before it began
            one.run.fail(error)
        raise


def gpus_at_hand() -> list[str]:
    """The GPUs that PyTorch sees, as CUDA_VISIBLE_DEVICES names them."""
    if not torch.cuda.is_available():
        return []
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


def _tried(
    todo: Sequence[Planned], workers: int, gpus: Sequence[str]
) -> Generator[tuple[Planned, str | None], None, None]:
    """Each run, as its try ends, and why it failed, or nothing."""
    if workers == 1 and not gpus:
        os.environ[BAR_POSITION] = "1"
        for one in todo:
            yield one, _try(one)
        return
    # A GPU's runs have a process of their own even one by one: an error on the device can leave the
    # process that made it without any GPU.
    yield from side_by_side(_try, todo, workers, gpus)


def _try(one: Planned) -> str | None:
    """Train one run, but where another process does; why it failed, or nothing."""
    try:
        if one.run.state != "running":
            train(one)
    except RunBusy:
        pass
    except Exception as error:
        return reason(error)
    finally:
        # A trainer and its callbacks refer to each other, and hold all that a run has seen. They
        # are few objects and much memory, so Python would let many runs pile up.
        gc.collect()
        torch.cuda.empty_cache()
    return None


def _left(
    elsewhere: list[Planned], failed: list[tuple[Planned, str]], bar: "tqdm[Any]"
) -> list[Planned]:
    """Wait for runs that other processes train, until they are done or failed, or one of them was
    given up; those that are then left."""
    left = elsewhere
    while left:
        states = [(one, one.run.state) for one in left]
        left = [one for one, state in states if state not in ("done", "failed")]
        bar.update(len(states) - len(left))
        failed += [(one, str(one.run.failure)) for one, state in states if state == "failed"]
        if any(state in ("begun", "waiting") for _, state in states):
            break
        bar.set_postfix_str(f"{len(left)} trained by another process" if left else "")
        time.sleep(POLL if left else 0)
    return left
