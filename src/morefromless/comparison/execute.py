"""Carrying out a plan: the runs that are not done, some side by side, with progress."""

import gc
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Protocol

import torch
from tqdm import tqdm

from morefromless.errors import MoreFromLessError, TrainingError
from morefromless.options import PretrainOptions, SuperviseOptions
from morefromless.runs import Run
from morefromless.training.pretrain import pretrain
from morefromless.training.progress import BAR_POSITION
from morefromless.training.supervised import supervise


class Planned(Protocol):
    """A run that is wanted, and the options that train it."""

    @property
    def options(self) -> PretrainOptions | SuperviseOptions: ...

    @property
    def run(self) -> Run: ...


def execute(planned: Sequence[Planned], jobs: int) -> None:
    """Train what is not done. A run that fails does not keep the others from being tried.

    Raises `TrainingError` at the end, naming the runs that failed and why the first did.
    """
    waiting = [p for p in planned if not p.run.done]
    if not waiting:
        return
    workers = min(jobs or _side_by_side(waiting[0]), len(waiting))
    failed: list[tuple[Planned, MoreFromLessError]] = []
    with tqdm(total=len(planned), initial=len(planned) - len(waiting), desc="runs", unit="run",
              dynamic_ncols=True) as bar:  # fmt: skip
        if workers == 1:
            os.environ[BAR_POSITION] = "1"
            for one in waiting:
                try:
                    _train(one)
                except MoreFromLessError as error:
                    failed.append((one, error))
                bar.update()
        else:
            context = multiprocessing.get_context("spawn")
            positions = context.Queue()
            for position in range(workers):
                positions.put(position + 1)
            threads = max(1, (os.cpu_count() or 1) // workers)
            with ProcessPoolExecutor(
                workers, mp_context=context, initializer=_prepare, initargs=(positions, threads)
            ) as pool:
                futures = {pool.submit(_train, one): one for one in waiting}
                for future in as_completed(futures):
                    try:
                        future.result()
                    except MoreFromLessError as error:
                        failed.append((futures[future], error))
                    bar.update()
    if failed:
        names = ", ".join(one.options.out.name for one, _ in failed[:3])
        names += f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise TrainingError(
            f"{len(failed)} of {len(planned)} runs failed ({names}); the first because: "
            f"{failed[0][1]} The others are kept: run the command again to go on."
        )


def _prepare(positions: "multiprocessing.Queue[int]", threads: int) -> None:
    """In each worker process: its share of the cores, and its own line for a progress bar."""
    torch.set_num_threads(threads)
    os.environ[BAR_POSITION] = str(positions.get())


def _train(one: Planned) -> None:
    try:
        if isinstance(one.options, PretrainOptions):
            pretrain(one.options)
        else:
            supervise(one.options)
    finally:
        # A trainer and its callbacks refer to each other, and hold all that a run has seen. They
        # are few objects and much memory, so Python would let many runs pile up.
        gc.collect()


def _side_by_side(one: Planned) -> int:
    """One run a core is faster than one run on all cores; a GPU is better left to one run."""
    if one.options.device != "cpu" and torch.cuda.is_available():
        return 1
    return os.cpu_count() or 1
