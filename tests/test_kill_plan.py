"""A plan that is killed at twenty random points ends with the same table."""

import json
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
import tqdm

from morefromless.comparison import execute, workers
from morefromless.comparison.compare import compare
from morefromless.data.store import Store
from morefromless.options import CompareOptions
from morefromless.report.table import report
from tests.conftest import TINY

KILLS = 20

SERVER = multiprocessing.get_context("forkserver")
"""Processes that need not import everything anew: PyTorch was never used in what they are forked
from."""
SERVER.set_forkserver_preload([__name__])


def carry_out(options: CompareOptions) -> None:
    """The whole of `mfl compare` but its figures, in a process that may be killed."""
    tqdm.tqdm.monitor_interval = 0  # no thread that a fork could meet holding a lock
    workers.START = "fork"  # type: ignore[assignment]
    execute.POLL = 0.1
    torch.set_num_threads(1)
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        report(compare(options)).write(options.out, "comparison")


def started(work: Callable[..., object], *given: object) -> BaseProcess:
    process = SERVER.Process(target=work, args=given)
    process.start()
    return process


def table(out: Path) -> tuple[str, Any]:
    """What it says: the accuracies, and all numbers that are made of them."""
    everything = json.loads((out / "comparison.json").read_text())
    numbers = {name: everything[name] for name in ("rows", "contrasts", "floors", "patches")}
    return (out / "comparison.csv").read_text(), numbers


def weights(out: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in out.glob("runs/*/weights.safetensors")}


def partial(out: Path) -> list[Path]:
    return list(out.rglob(".*.partial"))


@pytest.mark.timeout(600)
def test_killed_twenty_times_it_ends_with_the_same_table(tissue: Store, tmp_path: Path) -> None:
    options = CompareOptions(
        store=tissue.path,
        out=tmp_path / "whole",
        primary=("downsample:4",),
        seeds=1,
        jobs=1,
        width=32,
        sharing=("shared",),
        probe_every=3,
        checkpoint_every=2,
        **TINY,
    )
    started(int).join()  # by now everything is imported
    began = time.monotonic()
    process = started(carry_out, options)
    process.join()
    seconds = time.monotonic() - began
    assert process.exitcode == 0
    expected, trained = table(options.out), weights(options.out)
    assert len(trained) == 3
    assert not partial(options.out)

    def ended(out: Path, kills: int) -> None:
        assert process.exitcode == 0
        assert table(out) == expected
        assert weights(out) == trained
        assert len(partial(out)) <= 2 * kills  # what a kill may leave, and two workers twice

    rng = random.Random(0)
    kills, rounds, since = 0, 0, 0
    while kills < KILLS:
        out = tmp_path / f"killed-{rounds}"
        process = started(carry_out, replace(options, out=out, jobs=1 + kills % 2))
        process.join(rng.uniform(0, seconds / 5))
        if process.is_alive():
            process.kill()
            process.join()
            kills, since = kills + 1, since + 1
        else:  # it came to its end between two kills, and another one begins
            ended(out, since)
            rounds, since = rounds + 1, 0
    out = tmp_path / f"killed-{rounds}"
    process = started(carry_out, replace(options, out=out, jobs=2))
    process.join()
    ended(out, since)

    # Nothing of what the kills left half-written stays for good.
    for path in partial(out):
        os.utime(path, (time.time() - 4000,) * 2)
    execute.execute(compare(replace(options, out=out)).planned)
    assert not partial(out / "runs")
