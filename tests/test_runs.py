"""A run's folder: its state, its lock, and errors for missing or damaged files."""

import errno
import fcntl
import json
import os
import socket
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from morefromless import files, identity
from morefromless.branch_plans import plan_branches
from morefromless.config import RunConfig
from morefromless.errors import ConfigError, RunBusy, TrainingError
from morefromless.identity import run_key
from morefromless.runs import Run, State
from tests.conftest import changed
from tests.processes import holding


@pytest.fixture
def options(tmp_path: Path) -> RunConfig:
    return RunConfig(store=Path("store"), out=tmp_path / "run")


def begin_run(options: RunConfig, store_hash: str = "hash") -> Run:
    return Run.begin(options, store_hash)


def finish(run: Run) -> None:
    run.finish({"weight": torch.ones(2)}, {"seconds": 1.0, "steps": 3}, {})


def state(run: Run) -> State:
    return run.state


def test_states_of_a_run(options: RunConfig) -> None:
    run = Run(options.out)
    assert state(run) == "waiting"
    begin_run(options)
    assert state(run) == "begun"
    with run.training():
        assert state(run) == "running"
    assert state(run) == "begun"
    with pytest.raises(TrainingError), run.training():
        raise TrainingError("The loss is not finite; lower the learning rate.")
    assert state(run) == "failed"
    assert run.failure == "The loss is not finite; lower the learning rate."
    with run.training():
        assert run.failure is None  # it is being retried
        finish(run)
    assert state(run) == "done"
    assert [path.name for path in sorted(run.path.iterdir())] == [
        "config.yaml",
        "encoder.json",
        "lock",
        "run.json",
        "weights.safetensors",
    ]


def test_interrupted_run_resumes_with_its_moved_store(options: RunConfig) -> None:
    begin_run(options)
    moved = replace(options, store=options.out.parent / "moved" / "store")
    assert begin_run(moved).config.store == moved.store


def test_run_is_trained_by_one_process_only(options: RunConfig) -> None:
    run = begin_run(options)
    with holding(run.training) as process:
        assert state(run) == "running"
        holder = f"process {process} on {socket.gethostname()} since 20"
        assert run.trainer.startswith(holder)
        with pytest.raises(RunBusy, match=f"is being trained by {holder}"), run.training():
            raise AssertionError
        assert run.failure is None  # it did not fail: another process holds it
    assert state(run) == "begun"  # the lock of a killed process is released
    with run.training():
        pass


def test_run_trains_on_file_systems_without_locks(
    options: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", raise_no_locks)
    run = begin_run(options)
    with run.training():
        assert state(run) == "begun"  # without locks, "running" cannot be detected
        with run.training():
            finish(run)
    assert run.done


def test_only_the_leading_process_holds_the_run(options: RunConfig) -> None:
    run = begin_run(options)
    with run.training(), run.training(is_leader=False):
        assert state(run) == "running"


def test_why_it_failed_is_recorded(options: RunConfig) -> None:
    run = begin_run(options)
    with pytest.raises(RuntimeError), run.training():
        raise RuntimeError("CUDA out of memory\nTried to allocate much.")
    record = json.loads((run.path / "failed.json").read_text())
    assert record["reason"] == "RuntimeError: CUDA out of memory"
    assert record["host"] == socket.gethostname()
    assert abs(datetime.fromisoformat(record["when"]).timestamp() - time.time()) < 60
    trace = (run.path / "failed.txt").read_text()
    assert "in test_why_it_failed_is_recorded" in trace
    assert "Tried to allocate much." in trace
    with pytest.raises(TrainingError), run.training():
        raise TrainingError("One sentence.")
    assert run.failure == "One sentence."
    assert not (run.path / "failed.txt").exists()  # expected errors have no traceback
    with pytest.raises(KeyboardInterrupt), run.training():
        raise KeyboardInterrupt
    assert state(run) == "begun"  # an interrupt is not a failure


def test_full_disk_does_not_hide_the_failure_reason(
    options: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin_run(options)

    def raise_disk_full(*_: Any) -> None:
        raise files.StorageError("full")

    monkeypatch.setattr(files, "write_json", raise_disk_full)
    with pytest.raises(TrainingError, match="the first reason"), run.training():
        raise TrainingError("the first reason")
    assert state(run) == "begun"


def test_damaged_failure_record_is_reported(options: RunConfig) -> None:
    run = begin_run(options)
    run.failed_path.write_text("{")
    assert state(run) == "failed"
    assert run.failure == f"{run.failed_path} cannot be read."


def test_other_data_and_options_are_another_run(options: RunConfig) -> None:
    run = begin_run(options)
    before = run.record_path.read_bytes()
    with pytest.raises(ConfigError, match=r"another run \(made from other data\)"):
        begin_run(options, "other")
    with pytest.raises(ConfigError, match=r"another run \(--lr was 0.0001, is 0.5\); give another"):
        begin_run(changed(options, lr=0.5))
    with pytest.raises(ConfigError, match="--kind was asymmetric, is supervised"):
        begin_run(changed(options, kind="supervised"))
    assert run.record_path.read_bytes() == before


def test_run_of_another_version_is_refused(
    options: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_run(options)
    monkeypatch.setattr(identity, "RECIPE_VERSION", 2)
    with pytest.raises(
        ConfigError, match=r"made by morefromless 0\.1\.0, which trains differently"
    ):
        begin_run(options)


def test_incomplete_run_folder_is_started_again(options: RunConfig) -> None:
    for name in ("lock", "failed.json", "submitted.json", ".run.json.123.partial"):
        options.out.mkdir(exist_ok=True)
        (options.out / name).write_text("{")
    run = begin_run(options)
    config = yaml.safe_load(run.config_path.read_text())
    assert config["out"] == str(options.out)
    run.config_path.unlink()
    assert begin_run(options).config_path.is_file()  # it is restored from run.json
    assert yaml.safe_load(run.config_path.read_text()) == config


@pytest.mark.parametrize("file_name", ["config.yaml", "weights.safetensors", "resume.ckpt"])
def test_run_without_its_record_is_refused_and_kept(options: RunConfig, file_name: str) -> None:
    options.out.mkdir()
    (options.out / file_name).write_text("what there is")
    assert not Run(options.out).done
    with pytest.raises(ConfigError, match=r"run has lost its run\.json.*remove that folder"):
        begin_run(options)
    assert [path.name for path in options.out.iterdir()] == [file_name]
    assert (options.out / file_name).read_text() == "what there is"


def test_foreign_folder_is_refused_and_unchanged(options: RunConfig) -> None:
    options.out.mkdir()
    (options.out / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="is not empty and holds no run; give another --out"):
        begin_run(options)
    assert [path.name for path in options.out.iterdir()] == ["thesis.tex"]
    with pytest.raises(files.StorageError, match="a file exists where a folder is needed"):
        begin_run(changed(options, out=options.out / "thesis.tex"))


@pytest.mark.parametrize("content", ["{", "[]", '{"key": "abc"}', "\xff"])
def test_damaged_record_is_refused(options: RunConfig, content: str) -> None:
    run = begin_run(options)
    run.record_path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"run\.json is damaged"):
        begin_run(options)


CACHED_FILES = (
    "predictions-primary-linear.safetensors",
    "probe-primary-linear.safetensors",
    "features/primary-train.safetensors",
)


def write_cached_results(run: Run) -> list[Path]:
    """Write the files that an evaluation caches in a run's folder."""
    paths = [run.path / name for name in CACHED_FILES]
    (run.path / "features").mkdir()
    for path in paths:
        path.write_text("of the old weights")
    return paths


def test_results_of_lost_weights_are_removed(
    options: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin_run(options)
    with run.training():
        finish(run)
    cached_files = write_cached_results(run)
    with begin_run(options).training():
        pass
    assert all(path.is_file() for path in cached_files)  # the run is done
    run.weights_path.unlink()
    with begin_run(options).training():
        assert not any(path.exists() for path in cached_files)
        assert run.record.facts == {}
        assert begin_run(options).record == run.record
    assert "run was trained but has no weights" in capsys.readouterr().err


def test_features_of_lost_weights_are_removed(options: RunConfig) -> None:
    run = begin_run(options)
    finish(run)
    *answers, features = write_cached_results(run)
    for path in (*answers, run.weights_path):
        path.unlink()
    with run.training():
        assert not features.exists()


def test_features_of_a_frozen_branch_are_kept_on_resume(
    options: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin_run(options)
    (run.path / "features").mkdir()
    features = run.path / "features" / "privileged-train.safetensors"
    features.touch()
    with run.training():
        assert features.exists()
    # Killed after its record and before its weights were written: nothing is lost.
    run.checkpoint.touch()
    record = json.loads(run.record_path.read_text())
    files.write_json(run.record_path, {**record, "facts": {"seconds": 1.0}})
    with run.training():
        assert features.exists()
    assert "lost" not in capsys.readouterr().err


def test_partial_files_of_killed_processes_are_removed(options: RunConfig) -> None:
    run = begin_run(options)
    (run.path / "features").mkdir()
    old, new = (
        run.path / ".resume.ckpt.1.partial",
        run.path / "features" / ".x.safetensors.2.partial",
    )
    for path in (old, new):
        path.touch()
    os.utime(old, (time.time() - 3700,) * 2)
    run.sweep()
    assert not old.exists()
    assert new.exists()  # another process may still write it
    with run.training():  # this process holds the run, so nobody writes it
        assert not new.exists()


def test_damaged_checkpoint_is_renamed(
    options: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin_run(options)
    assert run.resumable_checkpoint() is None
    torch.save({"a": torch.arange(10_000)}, run.checkpoint)
    complete = run.checkpoint.read_bytes()
    assert run.resumable_checkpoint() == run.checkpoint
    flipped = bytearray(complete)
    flipped[len(flipped) // 2] ^= 1
    for damaged in (complete[: len(complete) // 2], bytes(flipped), b""):
        run.checkpoint.write_bytes(damaged)
        assert run.resumable_checkpoint() is None
        assert not run.checkpoint.exists()
        assert (run.path / "resume.ckpt.damaged").read_bytes() == damaged
        error = capsys.readouterr().err
        assert "resume.ckpt is damaged; it was renamed to resume.ckpt.damaged" in error
        assert "restarts from the beginning" in error


def test_untrusted_run_does_not_set_the_features_folder(options: RunConfig, tmp_path: Path) -> None:
    run = begin_run(changed(options, features=tmp_path / "theirs"))
    assert Run(run.path).config.machine.features == tmp_path / "theirs"
    assert Run(run.path, trust=False).config.machine.features is None


@pytest.mark.parametrize("given", [{"no_expander": ["primary"]}, {"freeze": ["primary"]}])
def test_symmetric_run_without_expander_is_another_run(
    options: RunConfig, given: dict[str, Any]
) -> None:
    symmetric = changed(options, kind="symmetric")
    assert plan_branches(symmetric) != plan_branches(changed(symmetric, **given))
    assert run_key(symmetric, "hash") != run_key(changed(symmetric, **given), "hash")
