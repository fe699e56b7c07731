"""Running many: what one run does to the others, and what several processes share."""

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from morefromless import progress, runner, workers
from morefromless.config import RunConfig, to_flat
from morefromless.devices import available_gpus
from morefromless.errors import ConfigError, TrainingError
from morefromless.runner import needed_bytes, run_all, status
from morefromless.runs import Run
from morefromless.study import Study
from morefromless.training.train import train
from tests.conftest import changed
from tests.processes import alive, child, until

Making = Callable[..., RunConfig]


@pytest.fixture
def run_of(pretraining: RunConfig, tmp_path: Path) -> Making:
    """Runs of four steps with a `Scripted` objective, each under a name of its own."""

    def make(name: str, what: str = "fine", file: Path | None = None, **options: Any) -> RunConfig:
        words = f"what={what}" + (f",file={file}" if file else "")
        objective = f"tests.scripted:Scripted:{words}"
        config = changed(pretraining, epochs=1, objective=objective, out=tmp_path / "runs" / name)
        return changed(config, **options)

    return make


def states(configs: list[RunConfig]) -> list[str]:
    return [Run(config.out).state for config in configs]


def written(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def test_whatever_ends_one_run_does_not_end_the_others(run_of: Making) -> None:
    configs = [
        run_of("a", "defect"),
        run_of("b", "full"),
        run_of("c", "memory"),
        run_of("d", width=48),
        run_of("e", privileged="vector:5", privileged_encoder="mlp"),
        run_of("f"),
    ]
    with pytest.raises(TrainingError, match=r"^4 of 6 runs failed \(.* and 1 more\)"):
        run_all(configs, 1)
    assert states(configs) == ["failed"] * 3 + ["done", "failed", "done"]
    a, b, c, _, e, _ = (str(Run(config.out).failure) for config in configs)
    assert a == "IndexError: index 7 is out of bounds"
    assert "the disk is full" in b
    assert c == "OutOfMemoryError: CUDA out of memory. Tried to allocate 20 GiB."
    assert "expression" in e
    assert "in defect" in (configs[0].out / "failed.txt").read_text()
    assert not (configs[1].out / "failed.txt").exists()


@pytest.mark.timeout(600)  # processes that import everything; the machine may be busy
def test_a_worker_that_dies_takes_its_run_alone_and_has_one_gpu_from_its_beginning(
    run_of: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "available_gpus", lambda _: ["3", "GPU-5"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    file = tmp_path / "log"
    whats = {"a": "killed", "b": "tells", "c": "crashed", "d": "defect"}
    configs = [run_of(name, what, file, device="auto") for name, what in whats.items()]
    with pytest.raises(TrainingError, match=r"^3 of 4 runs failed"):
        run_all(configs)  # as many side by side as there are GPUs
    assert states(configs) == ["failed", "done", "failed", "failed"]
    a, _, c, d = (Run(config.out).failure for config in configs)
    assert a == "Its process was killed by SIGKILL, perhaps because memory ran out."
    assert c == "Its process exited with code 3."
    assert d == "IndexError: index 7 is out of bounds"

    lines = written(file)
    assert len(lines) == 4
    assert {(gpu, mode) for _, gpu, mode, _ in lines} == {("3", "lines"), ("GPU-5", "lines")}
    assert len({process for process, *_ in lines}) == 3  # the worker of `b` trained another run
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def worker(said: str, code: int) -> workers._Worker:
    """One whose process says this and ends."""
    process = SimpleNamespace(stdin=StringIO(), stdout=StringIO(said), wait=lambda: code)
    new = object.__new__(workers._Worker)
    new.process = cast(Any, process)
    return new


def test_a_bar_that_cannot_be_written_is_no_death_of_a_worker(run_of: Making) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with progress.reported_to(full):
        assert worker('["a", 0.5, ""]\nnull\n', 0).train(run_of("a")) is None
        assert worker('["a", 0.5, ""]\n"OSError: it"\n', 0).train(run_of("a")) == "OSError: it"


@pytest.mark.parametrize(
    ("said", "code", "failure"),
    [
        ("", 1, "Its process exited with code 1."),
        ('["a", 0.5, ""]\n["a", 0.', -9, "by SIGKILL, perhaps because memory ran out."),
        ("", -11, "Its process was killed by SIGSEGV."),
        ("", -40, "Its process was killed by signal 40."),  # a real-time signal has no name
    ],
)
def test_a_death_is_named(said: str, code: int, failure: str, run_of: Making) -> None:
    assert str(worker(said, code).train(run_of("a"))).endswith(failure)


def test_a_run_that_several_studies_share_is_trained_once(run_of: Making, tmp_path: Path) -> None:
    file = tmp_path / "log"
    run_all([run_of("a", "tells", file)] * 3, 1)
    run_all([run_of("a", "tells", file)], 1)
    assert len(written(file)) == 1


def test_a_run_that_failed_is_tried_again_and_one_half_deleted_is_refused(run_of: Making) -> None:
    whole, half = run_of("a"), run_of("b")
    Run(whole.out).fail("What went wrong before.")
    run_all([half], 1)
    Run(half.out).record_path.unlink()
    with pytest.raises(TrainingError, match=r"1 of 2 runs failed \(b\).* lost its run\.json"):
        run_all([half, whole], 1)
    assert states([whole, half]) == ["done", "failed"]
    assert Run(half.out).weights_path.exists()


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ["0", "1"]), ("4,6", ["4", "6"]), ("GPU-a,GPU-b,-1,2", ["GPU-a", "GPU-b"])],
)
def test_gpus_go_by_the_names_that_they_were_given(
    visible: str | None, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert available_gpus() == expected
    assert available_gpus("cpu") == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert available_gpus() == []
    with pytest.raises(ConfigError):
        available_gpus("gpu")


def test_two_commands_over_one_folder_share_the_work(
    run_of: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.05)
    file, over = tmp_path / "log", tmp_path / "over"
    configs = [run_of(str(seed), "tells", file, seed=seed) for seed in range(4)]

    def other() -> None:
        run_all(configs, 1)
        over.touch()

    with child(other):
        run_all(configs, 1)
        assert states(configs) == ["done"] * 4
        until(over.exists)
    assert len(written(file)) == 4  # each was trained once


def test_a_run_that_another_process_trains_is_waited_for(
    run_of: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "log"
    go = file.with_suffix(".go")
    theirs, ours = run_of("a", "waits", file), run_of("b")

    def sleep(_: float) -> None:
        """Theirs goes on only once it is waited for."""
        assert Run(ours.out).done
        go.touch()
        time.sleep(0.05)

    monkeypatch.setattr(runner, "time", SimpleNamespace(sleep=sleep))
    with child(lambda: train(theirs)) as other:
        until(lambda: Run(theirs.out).state == "running" and written(file))
        run_all([theirs, ours], 1)
        assert go.exists()
        assert Run(theirs.out).done
        assert [line[0] for line in written(file)] == [str(other)]


def test_a_run_that_another_process_gives_up_is_taken_on(
    run_of: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.05)
    file = tmp_path / "log"
    config = run_of("a", "waits", file)
    with child(lambda: train(config)) as other:
        until(lambda: Run(config.out).state == "running" and written(file))

        def kill() -> None:
            file.with_suffix(".go").touch()
            os.kill(other, signal.SIGKILL)

        os.kill(other, signal.SIGSTOP)
        threading.Timer(0.5, kill).start()
        run_all([config], 1)
    assert Run(config.out).done
    assert [line[0] for line in written(file)] == [str(other), str(os.getpid())]


def test_a_run_that_fails_elsewhere_is_not_tried_once_more(
    run_of: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.05)
    config = run_of("a")
    run = Run.begin(config, "hash")
    begun = tmp_path / "begun"

    def fail() -> None:
        with run.training():
            begun.touch()
            time.sleep(0.5)
            raise TrainingError("The loss is not finite.")

    with child(fail):
        until(begun.exists)
        with pytest.raises(
            TrainingError, match=r"1 of 1 .* of the first: The loss is not finite\. The"
        ):
            run_all([config], 1)


def test_a_worker_that_cannot_be_started_fails_its_run_and_none_waits_for_it(
    run_of: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr("morefromless.workers.subprocess.Popen", refused)
    configs = [run_of("a"), run_of("b")]
    with pytest.raises(TrainingError, match=r"2 of 2 runs failed .* Cannot allocate memory"):
        run_all(configs, 2)
    assert "Cannot allocate memory" in str(Run(configs[1].out).failure)


def test_a_worker_that_is_being_started_ends_with_the_others(
    run_of: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    starting, go = threading.Event(), threading.Event()

    class Worker:
        def __init__(self, *_: object) -> None:
            if made:
                starting.set()
                go.wait()
            self.alive = True
            made.append(self)

        def train(self, _: RunConfig) -> None:
            starting.wait()

        def kill(self) -> None:
            self.alive = False

    monkeypatch.setattr(workers, "_Worker", Worker)
    ended = workers.outcomes([run_of("a"), run_of("b")], 2, [])
    next(ended)
    threading.Timer(0.2, go.set).start()
    ended.close()
    assert [worker.alive for worker in made] == [False, False]


@pytest.mark.timeout(600)  # processes that import everything; the machine may be busy
def test_workers_share_the_cores_and_die_with_who_started_them_and_their_runs_go_on(
    run_of: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "log"
    monkeypatch.setattr("morefromless.workers.available_cores", lambda: 7)
    configs = [run_of(str(seed), "waits", file, seed=seed) for seed in range(2)]
    with child(lambda: run_all(configs, 2)):
        until(lambda: len(written(file)) == 2)
        assert [line[3] for line in written(file)] == ["3", "3"]  # 3 threads x 2 workers <= 7 cores
        assert states(configs) == ["running"] * 2
    until(lambda: not any(alive(int(line[0])) for line in written(file)), seconds=30)
    until(lambda: states(configs) == ["begun"] * 2, seconds=30)

    def interrupt() -> None:
        until(lambda: len(written(file)) == 4)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run_all(configs, 2)
    assert not any(alive(int(line[0])) for line in written(file))
    until(lambda: states(configs) == ["begun"] * 2, seconds=30)
    file.with_suffix(".go").touch()
    run_all(configs, 1)
    assert states(configs) == ["done"] * 2


@pytest.mark.timeout(600)  # processes that import everything; the machine may be busy
def test_a_script_needs_no_main_guard_and_workers_train_the_same_weights(
    run_of: Making, tmp_path: Path
) -> None:
    alone, *configs = (changed(run_of(name), objective="vicreg") for name in ("alone", "a", "b"))
    options = [to_flat(config) for config in configs]
    script = tmp_path / "script.py"
    script.write_text(
        "from morefromless.config import RunConfig, from_flat\n"
        "from morefromless.runner import run_all\n"
        f"run_all([from_flat(RunConfig, one) for one in {options!r}], 2)\n"
        "print('once')\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "once\n"
    assert states(configs) == ["done"] * 2
    train(alone)
    weights = [(config.out / "weights.safetensors").read_bytes() for config in (alone, *configs)]
    assert weights[0] == weights[1] == weights[2]


def test_what_will_be_written_is_known_before(study: Study, run_of: Making) -> None:
    trained = {run.arm.kind: run for run in study.runs}
    assert needed_bytes(list(trained.values())) == 0
    fresh = [changed(run, out=run.out.with_name("none")) for run in trained.values()]
    weights = sum((run.out / "weights.safetensors").stat().st_size for run in trained.values())
    assert needed_bytes(fresh, 0) == pytest.approx(weights, rel=0.02)
    # Two checkpoints of weights and two moments: the last is kept until the next is written.
    stopped = run_of("stopped", epochs=2, checkpoint_every=4, objective="vicreg")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "finish", lambda *_: None)
        train(stopped)
    checkpoints = 2 * Run(stopped.out).checkpoint.stat().st_size
    needed = needed_bytes([stopped], 1) - needed_bytes([stopped], 0)
    assert needed == pytest.approx(checkpoints, rel=0.03)


def test_runs_for_which_the_disk_has_no_room_are_not_begun(
    run_of: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [run_of("a"), run_of("b", width=48)]
    usage = shutil.disk_usage("/")._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        ConfigError, match=r"need up to 0\.0\d GB, but the disk of .*runs has 0\.00"
    ):
        run_all(configs, 1)
    assert not configs[0].out.parent.exists()


def test_a_gpu_that_is_not_there_is_missed_once(
    run_of: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    configs = [run_of(name, device="gpu") for name in "ab"]
    with pytest.raises(ConfigError, match=r"^--device gpu was requested"):
        run_all(configs)
    assert not configs[0].out.parent.exists()


@pytest.mark.parametrize("encoder", ["resnet50", "keras-v1", "vit_small_patch16_224"])
def test_sizes_cost_no_memory(run_of: Making, encoder: str) -> None:
    """Two branches of ResNet-50 with expanders of 8192."""
    config = run_of("a", encoder=encoder, width=8192, size=224)
    inputs = 384 if encoder.startswith("vit") else 2048
    expander = inputs * 8192 + 2 * 8192**2 + 3 * 8192 + 4 * 8192
    # Keras counts 23,587,712 and timm 25,557,032 - 2,049,000 for ResNet-50, 22,050,664 - 385,000
    # for ViT-S/16.
    encoders = {"keras-v1": 23_534_592, "resnet50": 23_508_032, "vit_small_patch16_224": 21_665_664}
    parameters = 2 * (encoders[encoder] + expander)
    assert needed_bytes([config], 0) == pytest.approx(4 * parameters, rel=0.004)


def test_every_run_is_in_one_state_with_its_reason(run_of: Making) -> None:
    configs = [run_of(name) for name in ("done", "running", "failed", "begun", "waiting")]
    done, running, failed, _, waiting = (Run(config.out) for config in configs)
    assert [one.state for one in status(map(Run, (c.out for c in configs)))] == ["waiting"] * 5
    assert not done.path.parent.exists()  # to look changes nothing
    for config in configs[:4]:
        Run.begin(config, "hash")
    done.finish({"weight": torch.ones(1)}, {"seconds": 1.0}, {})
    done.fail("What went wrong before it was done.")
    failed.fail("The loss is not finite; lower the learning rate.")
    with running.training():
        rows = status([Run(c.out) for c in (*configs, *configs)], {waiting.path: "123"})
    assert [row.state for row in rows] == [row.name for row in rows]
    assert len(rows) == 5
    assert rows[1].detail.startswith(f"process {os.getpid()} on {socket.gethostname()} since ")
    assert [row.detail for row in rows if row.state != "running"] == [
        "",
        "The loss is not finite; lower the learning rate.",
        "",
        "job 123",
    ]
