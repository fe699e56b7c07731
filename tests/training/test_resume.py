"""Training that was killed in the middle of an epoch ends in the same weights."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from morefromless.options import PretrainOptions, SuperviseOptions
from morefromless.runs import plain
from morefromless.training.pretrain import pretrain
from morefromless.training.supervised import supervise

TRAIN = """
import sys, torch, yaml
from pathlib import Path
from morefromless.cli import run
torch.set_num_threads(1)
sys.exit(run([sys.argv[1], "--config", sys.argv[2]]))
"""


def _start(command: str, options: PretrainOptions | SuperviseOptions) -> subprocess.Popen[bytes]:
    file = options.out.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(plain(options)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, command, str(file)],
        env=environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def _kill_after_checkpoint(process: subprocess.Popen[bytes], checkpoint: Path) -> None:
    deadline = time.monotonic() + 120
    while not checkpoint.exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("kind", ["pretrain", "supervise"])
def test_killed_in_mid_epoch_and_resumed_is_the_same_as_uninterrupted(
    kind: str,
    pretraining: PretrainOptions,
    supervision: SuperviseOptions,
    tmp_path: Path,
) -> None:
    # 4 steps an epoch; a checkpoint every 3 is never at an epoch's end before step 12.
    base = pretraining if kind == "pretrain" else supervision
    base = replace(base, epochs=12, checkpoint_every=3, probe_every=5)
    whole, cut = replace(base, out=tmp_path / "whole"), replace(base, out=tmp_path / "cut")
    assert _start(kind, whole).wait() == 0

    _kill_after_checkpoint(_start(kind, cut), cut.out / "resume.ckpt")
    assert not (cut.out / "weights.safetensors").exists()
    at = torch.load(cut.out / "resume.ckpt", weights_only=True)["global_step"]
    assert 0 < at < 48
    assert at % 3 == 0
    assert _start(kind, cut).wait() == 0

    a, b = load_file(whole.out / "weights.safetensors"), load_file(cut.out / "weights.safetensors")
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
    assert not (cut.out / "resume.ckpt").exists()
    pd.testing.assert_frame_equal(
        pd.read_csv(whole.out / "curve.csv"), pd.read_csv(cut.out / "curve.csv")
    )


def test_a_run_that_is_done_is_not_trained_again(pretraining: PretrainOptions) -> None:
    first = pretrain(replace(pretraining, epochs=1))
    written = first.weights_path.stat().st_mtime_ns
    assert pretrain(replace(pretraining, epochs=1)).weights_path.stat().st_mtime_ns == written


def test_seeds_give_other_weights_and_the_same_seed_the_same(
    supervision: SuperviseOptions, tmp_path: Path
) -> None:
    def head(seed: int, name: str) -> torch.Tensor:
        run = supervise(replace(supervision, epochs=1, seed=seed, out=tmp_path / name))
        return load_file(run.weights_path)["head.weight"]

    assert torch.equal(head(0, "a"), head(0, "b"))
    assert not torch.equal(head(0, "a"), head(1, "c"))
