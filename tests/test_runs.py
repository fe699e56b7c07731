"""A run's folder: its state, who holds it, and what is told when half of it is gone."""

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


def begun(options: RunConfig, store_hash: str = "hash") -> Run:
    return Run.begin(options, store_hash)


def finish(run: Run) -> None:
    run.finish({"weight": torch.ones(2)}, {"seconds": 1.0, "steps": 3}, {})


def state(run: Run) -> State:
    return run.state


def test_the_states_of_a_run(options: RunConfig) -> None:
    run = Run(options.out)
    assert state(run) == "waiting"
    begun(options)
    assert state(run) == "begun"
    with run.training():
        assert state(run) == "running"
    assert state(run) == "begun"
    with pytest.raises(TrainingError), run.training():
        raise TrainingError("The loss is not finite; lower the learning rate.")
    assert state(run) == "failed"
    assert run.failure == "The loss is not finite; lower the learning rate."
    with run.training():
        assert run.failure is None  # it is tried again
        finish(run)
    assert state(run) == "done"
    assert [path.name for path in sorted(run.path.iterdir())] == [
        "config.yaml",
        "encoder.json",
        "lock",
        "run.json",
        "weights.safetensors",
    ]


def test_an_interrupted_run_goes_on_from_where_its_store_lies_now(options: RunConfig) -> None:
    begun(options)
    moved = replace(options, store=options.out.parent / "moved" / "store")
    assert begun(moved).config.store == moved.store


def test_another_process_cannot_train_it(options: RunConfig) -> None:
    run = begun(options)
    with holding(run.training) as process:
        assert state(run) == "running"
        who = f"process {process} on {socket.gethostname()} since 20"
        assert run.trainer.startswith(who)
        with pytest.raises(RunBusy, match=f"is being trained by {who}"), run.training():
            raise AssertionError
        assert run.failure is None  # it did not fail: another has it
    assert state(run) == "begun"  # the lock of a killed process is gone
    with run.training():
        pass


def test_where_there_are_no_locks_it_goes_on_without(
    options: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    run = begun(options)
    with run.training():
        assert state(run) == "begun"  # which it cannot know
        with run.training():
            finish(run)
    assert run.done


def test_of_several_processes_that_train_together_one_holds_it(options: RunConfig) -> None:
    run = begun(options)
    with run.training(), run.training(is_leader=False):
        assert state(run) == "running"


def test_why_it_failed_is_recorded(options: RunConfig) -> None:
    run = begun(options)
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
    assert not (run.path / "failed.txt").exists()  # a sentence says it all
    with pytest.raises(KeyboardInterrupt), run.training():
        raise KeyboardInterrupt
    assert state(run) == "begun"  # to stop it is not to fail


def test_a_full_disk_does_not_hide_why_it_failed(
    options: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(options)

    def full(*_: Any) -> None:
        raise files.StorageError("full")

    monkeypatch.setattr(files, "write_json", full)
    with pytest.raises(TrainingError, match="the first reason"), run.training():
        raise TrainingError("the first reason")
    assert state(run) == "begun"


def test_a_damaged_record_of_failure_is_told(options: RunConfig) -> None:
    run = begun(options)
    run.failed_path.write_text("{")
    assert state(run) == "failed"
    assert run.failure == f"{run.failed_path} cannot be read."


def test_other_data_versions_and_options_are_other_runs(options: RunConfig) -> None:
    run = begun(options)
    before = run.record_path.read_bytes()
    with pytest.raises(ConfigError, match=r"another run \(made from other data\)"):
        begun(options, "other")
    with pytest.raises(ConfigError, match=r"another run \(--lr was 0.0001, is 0.5\); give another"):
        begun(changed(options, lr=0.5))
    with pytest.raises(ConfigError, match="--kind was asymmetric, is supervised"):
        begun(changed(options, kind="supervised"))
    assert run.record_path.read_bytes() == before


def test_a_run_of_another_version_is_told(
    options: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(options)
    monkeypatch.setattr(identity, "RECIPE_VERSION", 2)
    with pytest.raises(
        ConfigError, match=r"made by morefromless 0\.1\.0, which trains differently"
    ):
        begun(options)


def test_killed_before_everything_was_written_it_is_begun_again(options: RunConfig) -> None:
    for name in ("lock", "failed.json", "submitted.json", ".run.json.123.partial"):
        options.out.mkdir(exist_ok=True)
        (options.out / name).write_text("{")
    run = begun(options)
    written = yaml.safe_load(run.config_path.read_text())
    assert written["out"] == str(options.out)
    run.config_path.unlink()
    assert begun(options).config_path.is_file()  # it follows from run.json
    assert yaml.safe_load(run.config_path.read_text()) == written


@pytest.mark.parametrize("left", ["config.yaml", "weights.safetensors", "resume.ckpt"])
def test_a_run_without_its_record_is_told_and_kept(options: RunConfig, left: str) -> None:
    options.out.mkdir()
    (options.out / left).write_text("what there is")
    assert not Run(options.out).done
    with pytest.raises(ConfigError, match=r"run has lost its run\.json.*remove that folder"):
        begun(options)
    assert [path.name for path in options.out.iterdir()] == [left]
    assert (options.out / left).read_text() == "what there is"


def test_somebody_elses_folder_is_left_alone(options: RunConfig) -> None:
    options.out.mkdir()
    (options.out / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="is not empty and holds no run; give another --out"):
        begun(options)
    assert [path.name for path in options.out.iterdir()] == ["thesis.tex"]
    with pytest.raises(files.StorageError, match="a file exists where a folder is needed"):
        begun(changed(options, out=options.out / "thesis.tex"))


@pytest.mark.parametrize("content", ["{", "[]", '{"key": "abc"}', "\xff"])
def test_a_damaged_record_is_told(options: RunConfig, content: str) -> None:
    run = begun(options)
    run.record_path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"run\.json is damaged"):
        begun(options)


ANSWERS = (
    "predictions-primary-linear.safetensors",
    "probe-primary-linear.safetensors",
    "features/primary-train.safetensors",
)


def answered(run: Run) -> list[Path]:
    """Leave behind what an evaluation makes of a run."""
    paths = [run.path / name for name in ANSWERS]
    (run.path / "features").mkdir()
    for path in paths:
        path.write_text("of the old weights")
    return paths


def test_what_was_made_of_weights_that_are_gone_answers_for_no_others(
    options: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begun(options)
    with run.training():
        finish(run)
    paths = answered(run)
    with begun(options).training():
        pass
    assert all(path.is_file() for path in paths)  # it is done
    run.weights_path.unlink()
    with begun(options).training():
        assert not any(path.exists() for path in paths)
        assert run.record.facts == {}
        assert begun(options).record == run.record
    assert "run was trained but has no weights" in capsys.readouterr().err


def test_features_alone_of_weights_that_are_gone_go_too(options: RunConfig) -> None:
    run = begun(options)
    finish(run)
    *answers, features = answered(run)
    for path in (*answers, run.weights_path):
        path.unlink()
    with run.training():
        assert not features.exists()


def test_what_a_frozen_branch_computed_is_kept_when_training_goes_on(
    options: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begun(options)
    (run.path / "features").mkdir()
    features = run.path / "features" / "privileged-train.safetensors"
    features.touch()
    with run.training():
        assert features.exists()
    # Killed between its record and its weights: nothing is lost.
    run.checkpoint.touch()
    record = json.loads(run.record_path.read_text())
    files.write_json(run.record_path, {**record, "facts": {"seconds": 1.0}})
    with run.training():
        assert features.exists()
    assert "lost" not in capsys.readouterr().err


def test_what_killed_processes_left_half_written_is_removed(options: RunConfig) -> None:
    run = begun(options)
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
    assert new.exists()  # perhaps somebody still writes it
    with run.training():  # nobody does: the run is ours
        assert not new.exists()


def test_a_checkpoint_that_is_not_whole_is_set_aside(
    options: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begun(options)
    assert run.resumable_checkpoint() is None
    torch.save({"a": torch.arange(10_000)}, run.checkpoint)
    whole = run.checkpoint.read_bytes()
    assert run.resumable_checkpoint() == run.checkpoint
    turned = bytearray(whole)
    turned[len(turned) // 2] ^= 1
    for damaged in (whole[: len(whole) // 2], bytes(turned), b""):
        run.checkpoint.write_bytes(damaged)
        assert run.resumable_checkpoint() is None
        assert not run.checkpoint.exists()
        assert (run.path / "resume.ckpt.damaged").read_bytes() == damaged
        said = capsys.readouterr().err
        assert "resume.ckpt is damaged; it was renamed to resume.ckpt.damaged" in said
        assert "restarts from the beginning" in said


def test_a_run_from_elsewhere_names_no_place_to_write_to(
    options: RunConfig, tmp_path: Path
) -> None:
    run = begun(changed(options, features=tmp_path / "theirs"))
    assert Run(run.path).config.machine.features == tmp_path / "theirs"
    assert Run(run.path, trust=False).config.machine.features is None


@pytest.mark.parametrize("given", [{"no_expander": ["primary"]}, {"freeze": ["primary"]}])
def test_a_symmetric_run_without_expander_is_another_run(
    options: RunConfig, given: dict[str, Any]
) -> None:
    symmetric = changed(options, kind="symmetric")
    assert plan_branches(symmetric) != plan_branches(changed(symmetric, **given))
    assert run_key(symmetric, "hash") != run_key(changed(symmetric, **given), "hash")
