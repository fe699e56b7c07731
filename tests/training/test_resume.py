"""A run that is killed in the middle of an epoch resumes and gets the same weights."""

import errno
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from morefromless.config import RunConfig
from morefromless.errors import RunBusy
from morefromless.files import StorageError
from morefromless.objectives import Loss
from morefromless.objectives.vicreg import VICReg
from morefromless.runs import Run
from morefromless.training.pretrain import pretrain
from morefromless.training.supervised import supervise
from morefromless.training.train import train
from tests.conftest import SERVER, changed
from tests.processes import exit_status, until


def _train(options: RunConfig) -> Run:
    torch.set_num_threads(1)
    return train(options)


def _kill_after_checkpoint(process: BaseProcess, checkpoint: Path) -> None:
    until(lambda: checkpoint.exists() or not process.is_alive(), seconds=120)
    assert checkpoint.exists(), "the run ended before it could be killed"
    process.kill()
    process.join()


@pytest.mark.xdist_group("server")
@pytest.mark.parametrize("kind", ["pretrain", "supervise"])
def test_run_killed_in_mid_epoch_resumes_to_the_same_weights(
    kind: str,
    pretraining: RunConfig,
    supervision: RunConfig,
    tmp_path: Path,
) -> None:
    # 4 steps per epoch: a checkpoint every 3 steps is not at the end of an epoch before step 12.
    base = pretraining if kind == "pretrain" else supervision
    base = changed(base, epochs=6, checkpoint_every=3, probe_every=5)
    uninterrupted, interrupted = (
        changed(base, out=tmp_path / "whole"),
        changed(base, out=tmp_path / "cut"),
    )
    _train(uninterrupted)

    process = SERVER.Process(target=_train, args=(interrupted,))
    process.start()
    _kill_after_checkpoint(process, interrupted.out / "resume.ckpt")
    assert not (interrupted.out / "weights.safetensors").exists()
    killed_step = torch.load(interrupted.out / "resume.ckpt", weights_only=True)["global_step"]
    assert 0 < killed_step < 24
    assert killed_step % 3 == 0
    _train(interrupted)

    a, b = (
        load_file(uninterrupted.out / "weights.safetensors"),
        load_file(interrupted.out / "weights.safetensors"),
    )
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
    assert not (interrupted.out / "resume.ckpt").exists()
    pd.testing.assert_frame_equal(
        pd.read_csv(uninterrupted.out / "curve.csv"), pd.read_csv(interrupted.out / "curve.csv")
    )


def test_finished_run_is_not_trained_again(pretraining: RunConfig) -> None:
    first = pretrain(changed(pretraining, epochs=1))
    written = first.weights_path.stat().st_mtime_ns
    assert pretrain(changed(pretraining, epochs=1)).weights_path.stat().st_mtime_ns == written


def test_weights_depend_only_on_the_seed(supervision: RunConfig, tmp_path: Path) -> None:
    def head(seed: int, name: str) -> torch.Tensor:
        run = supervise(changed(supervision, epochs=1, seed=seed, out=tmp_path / name))
        return load_file(run.weights_path)["head.weight"]

    assert torch.equal(head(0, "a"), head(0, "b"))
    assert not torch.equal(head(0, "a"), head(1, "c"))


class Watched(VICReg):
    """VICReg that reports every training step, but not the check with two rows before training."""

    def forward(self, embeddings: Any) -> Loss:
        if len(embeddings[0]) > 2:
            on_step()
        return super().forward(embeddings)


def on_step() -> None:
    """Hook that tests replace."""


@pytest.fixture
def watched(pretraining: RunConfig) -> RunConfig:
    """A run of 8 steps with a checkpoint every 3 steps."""
    return changed(
        pretraining, objective="tests.training.test_resume:Watched", checkpoint_every=3, workers=0
    )


@pytest.fixture
def expected(watched: RunConfig, tmp_path: Path) -> dict[str, torch.Tensor]:
    """Weights of an uninterrupted run."""
    run = pretrain(changed(watched, out=tmp_path / "expected"))
    assert run.record.facts["resumed"] is False
    return load_file(run.weights_path)


def has_weights(run: Run, expected: dict[str, torch.Tensor]) -> bool:
    weights = load_file(run.weights_path)
    return weights.keys() == expected.keys() and all(
        torch.equal(weights[name], expected[name]) for name in expected
    )


def call_at_step(step: int, action: Callable[[], object]) -> Callable[[], None]:
    """Call `action` at the loss of one step, counted from 1 in this process."""
    count = 0

    def counted() -> None:
        nonlocal count
        count += 1
        if count == step:
            action()

    return counted


SAVE = torch.save


def interrupted_save(action: Callable[[], object], times: int) -> Callable[..., None]:
    """torch.save that calls `action` in the middle of writing at its call number `times`."""
    count = 0

    def save(content: Any, file: Any) -> None:
        nonlocal count
        count += 1
        if count < times:
            SAVE(content, file)
            return
        SAVE({"state": torch.zeros(1000)}, file)
        file.flush()
        action()

    return save


def test_kill_during_a_checkpoint_resumes_from_the_last_one(
    watched: RunConfig, expected: dict[str, torch.Tensor]
) -> None:
    run = Run(watched.out)
    for times in (2, 1):  # killed after 6 steps both times; the second run resumes from step 3

        def work(times: int = times) -> None:
            torch.save = interrupted_save(lambda: os.kill(os.getpid(), signal.SIGKILL), times)
            pretrain(watched)

        assert os.WTERMSIG(exit_status(work)) == signal.SIGKILL
        assert torch.load(run.checkpoint, weights_only=True)["global_step"] == 3
        assert len(list(run.path.glob(".*.partial"))) == 1
    assert run.state == "begun"
    assert has_weights(pretrain(watched), expected)
    assert run.record.facts["resumed"] is True
    assert not list(run.path.glob(".*.partial"))


def test_full_disk_is_an_error_and_keeps_the_last_checkpoint(
    watched: RunConfig, expected: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_disk_full() -> None:
        cause = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        # PyTorch's writer raises this error when it is closed.
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos") from cause

    monkeypatch.setattr(torch, "save", interrupted_save(raise_disk_full, times=2))
    with pytest.raises(StorageError, match=r"resume\.ckpt cannot be written: the disk is full"):
        pretrain(watched)
    run = Run(watched.out)
    assert run.state == "failed"
    assert "the disk is full" in str(run.failure)
    assert torch.load(run.checkpoint, weights_only=True)["global_step"] == 3
    assert not list(run.path.glob(".*.partial"))
    monkeypatch.undo()
    assert has_weights(pretrain(watched), expected)
    assert run.record.facts["resumed"] is True
    assert run.failure is None


@pytest.mark.parametrize("damage", ["cut off", "turned over"])
def test_damaged_checkpoint_restarts_the_run(
    watched: RunConfig,
    expected: dict[str, torch.Tensor],
    damage: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop() -> None:
        raise RuntimeError("stop")

    monkeypatch.setattr("tests.training.test_resume.on_step", call_at_step(5, stop))
    with pytest.raises(RuntimeError, match="stop"):
        pretrain(watched)
    run = Run(watched.out)
    content = bytearray(run.checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    run.checkpoint.write_bytes(content[: len(content) // 2] if damage == "cut off" else content)
    capsys.readouterr()
    assert has_weights(pretrain(watched), expected)
    assert "resume.ckpt is damaged" in capsys.readouterr().err
    assert run.record.facts["resumed"] is False
    assert (run.path / "resume.ckpt.damaged").exists()


def test_interrupted_run_stops_immediately_and_resumes(
    watched: RunConfig, expected: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = call_at_step(5, lambda: os.kill(os.getpid(), signal.SIGINT))
    monkeypatch.setattr("tests.training.test_resume.on_step", step)
    with pytest.raises(KeyboardInterrupt):
        pretrain(watched)
    run = Run(watched.out)
    assert run.state == "begun"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert has_weights(pretrain(watched), expected)


def test_recorded_seconds_include_the_interrupted_part(
    watched: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise RuntimeError("stop")

    # The checkpoint is of step 3.
    parts = call_at_step(2, lambda: time.sleep(3)), call_at_step(5, stop)
    monkeypatch.setattr("tests.training.test_resume.on_step", lambda: [part() for part in parts])
    with pytest.raises(RuntimeError, match="stop"):
        pretrain(watched)
    began = time.perf_counter()
    record = pretrain(watched).record.facts
    assert record["resumed"]
    assert record["seconds"] > max(3, time.perf_counter() - began)


def test_run_in_training_is_not_trained_a_second_time(
    watched: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = []

    def train_again() -> None:
        with pytest.raises(RunBusy, match=f"is being trained by process {os.getpid()} on"):
            pretrain(watched)
        states.append(Run(watched.out).state)

    monkeypatch.setattr("tests.training.test_resume.on_step", call_at_step(2, train_again))
    pretrain(watched)
    assert states == ["running"]


def test_signal_handlers_are_unchanged_in_a_slurm_job(
    watched: RunConfig, expected: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With SLURM's variables, Lightning would assume four processes and requeue the job."""
    for name, value in {
        "SLURM_JOB_ID": "123",
        "SLURM_JOB_NAME": "run",
        "SLURM_NTASKS": "4",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
        "SLURM_NTASKS_PER_NODE": "4",
    }.items():
        monkeypatch.setenv(name, value)
    signals: list[int] = []
    handlers: list[object] = []

    def record_signal(number: int, _: object) -> None:
        signals.append(number)

    def record_handler() -> None:
        os.kill(os.getpid(), signal.SIGTERM)  # the cluster sends it before the requeue signal
        handlers.append(signal.getsignal(signal.SIGUSR1))

    before = signal.signal(signal.SIGTERM, record_signal)
    try:
        monkeypatch.setattr("tests.training.test_resume.on_step", call_at_step(4, record_handler))
        run = pretrain(watched)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert signals == [signal.SIGTERM]
    assert handlers == [signal.SIG_DFL]
    assert has_weights(run, expected)


def test_sigterm_has_its_default_handler(
    watched: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Lightning's handler, the exit code would be 0, and a script would continue."""
    handlers: list[object] = []

    def record_handler() -> None:
        handlers.append(signal.getsignal(signal.SIGTERM))

    monkeypatch.setattr("tests.training.test_resume.on_step", call_at_step(4, record_handler))
    pretrain(watched)
    assert handlers == [signal.SIG_DFL]


def test_missing_weights_are_trained_again(
    watched: RunConfig, expected: dict[str, torch.Tensor]
) -> None:
    run = pretrain(watched)
    (run.path / "predictions-primary-linear.safetensors").write_text("{}")
    run.weights_path.unlink()
    assert has_weights(pretrain(watched), expected)
    assert not (run.path / "predictions-primary-linear.safetensors").exists()
