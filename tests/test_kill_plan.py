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
    """`mfl compare` without tables and figures, in a process that may be killed."""
    runner.POLL_SECONDS = 0.1
    torch.set_num_threads(1)
    with Path(os.devnull).open("w") as devnull, redirect_stderr(devnull):
        study = Study.of(config)
        runner.run_all(study.runs, config.jobs)
        study.evaluate(progress=False).save(config.out)


def start(work: Callable[..., object], *arguments: object) -> BaseProcess:
    process = SERVER.Process(target=work, args=arguments)
    process.start()
    return process


def saved_results(out: Path) -> tuple[str, str, Any]:
    """The table, the curves, and all numbers that are computed from them."""
    content = json.loads((out / "results.json").read_text())
    numbers = {name: content[name] for name in ("summaries", "contrasts", "data")}
    return (out / "results.csv").read_text(), (out / "curves.csv").read_text(), numbers


def weights(out: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in out.glob("runs/*/weights.safetensors")}


def partial_files(out: Path) -> list[Path]:
    return list(out.rglob(".*.partial"))


@pytest.mark.timeout(600)
@pytest.mark.xdist_group("server")
def test_repeatedly_killed_study_gives_the_same_results(tissue: Store, tmp_path: Path) -> None:
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
    start(int).join()  # afterwards everything is imported
    start_time = time.monotonic()
    process = start(compare, config)
    process.join()
    seconds = time.monotonic() - start_time
    assert process.exitcode == 0
    expected, trained = saved_results(config.out), weights(config.out)
    assert len(trained) == 3
    assert not partial_files(config.out)

    def check_results(out: Path, kills: int) -> None:
        assert process.exitcode == 0
        assert saved_results(out) == expected
        assert weights(out) == trained
        assert len(partial_files(out)) <= kills

    rng = random.Random(0)
    kills, rounds, kills_of_round = 0, 0, 0
    while kills < KILLS:
        out = tmp_path / f"killed-{rounds}"
        process = start(compare, changed(config, out=out))
        process.join(rng.uniform(0, seconds / 4))
        if process.is_alive():
            process.kill()
            process.join()
            kills, kills_of_round = kills + 1, kills_of_round + 1
        else:  # it finished between two kills; start a new study
            check_results(out, kills_of_round)
            rounds, kills_of_round = rounds + 1, 0
    out = tmp_path / f"killed-{rounds}"
    process = start(compare, changed(config, out=out, jobs=2))  # workers resume it
    process.join()
    check_results(out, kills_of_round)

    # Partial files of killed processes are removed once they are old.
    for path in partial_files(out):
        os.utime(path, (time.time() - 4000,) * 2)
    runner.run_all(Study.of(changed(config, out=out)).runs)
    assert not partial_files(out / "runs")
