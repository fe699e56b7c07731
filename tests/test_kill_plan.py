"""A study that is killed at random points ends with the same weights and results."""

import json
import os
import random
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from morefromless import runner
from morefromless.config import StudyConfig
from morefromless.data.store import Store
from morefromless.study import Study
from tests.conftest import SERVER, changed, study_config

KILLS = 12


def compare(config: StudyConfig) -> None:
    """`mfl compare` without its tables and figures, in a process that may be killed."""
    runner.POLL_SECONDS = 0.1
    torch.set_num_threads(1)
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        study = Study.of(config)
        runner.run_all(study.runs, config.jobs)
        study.evaluate(progress=False).save(config.out)


def started(work: Callable[..., object], *given: object) -> BaseProcess:
    process = SERVER.Process(target=work, args=given)
    process.start()
    return process


def written(out: Path) -> tuple[str, str, Any]:
    """The table, the curves, and all numbers that are computed from them."""
    everything = json.loads((out / "results.json").read_text())
    numbers = {name: everything[name] for name in ("summaries", "contrasts", "data")}
    return (out / "results.csv").read_text(), (out / "curves.csv").read_text(), numbers


def weights(out: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in out.glob("runs/*/weights.safetensors")}


def partial(out: Path) -> list[Path]:
    return list(out.rglob(".*.partial"))


@pytest.mark.timeout(600)
@pytest.mark.xdist_group("server")
def test_killed_again_and_again_it_ends_with_the_same_results(
    tissue: Store, tmp_path: Path
) -> None:
    config = study_config(
        tissue.path,
        tmp_path / "whole",
        seeds=1,
        width=32,
        sharing=["shared"],
        probe_every=3,
        checkpoint_every=2,
        probe_epochs=5,
    )
    started(int).join()  # by now everything is imported
    began = time.monotonic()
    process = started(compare, config)
    process.join()
    seconds = time.monotonic() - began
    assert process.exitcode == 0
    expected, trained = written(config.out), weights(config.out)
    assert len(trained) == 3
    assert not partial(config.out)

    def ended(out: Path, kills: int) -> None:
        assert process.exitcode == 0
        assert written(out) == expected
        assert weights(out) == trained
        assert len(partial(out)) <= kills

    rng = random.Random(0)
    kills, rounds, since = 0, 0, 0
    while kills < KILLS:
        out = tmp_path / f"killed-{rounds}"
        process = started(compare, changed(config, out=out))
        process.join(rng.uniform(0, seconds / 4))
        if process.is_alive():
            process.kill()
            process.join()
            kills, since = kills + 1, since + 1
        else:  # it came to its end between two kills, and another one begins
            ended(out, since)
            rounds, since = rounds + 1, 0
    out = tmp_path / f"killed-{rounds}"
    process = started(compare, changed(config, out=out, jobs=2))  # workers go on where it was
    process.join()
    ended(out, since)

    # Nothing of what the kills left half-written stays for good.
    for path in partial(out):
        os.utime(path, (time.time() - 4000,) * 2)
    runner.run_all(Study.of(changed(config, out=out)).runs)
    assert not partial(out / "runs")
