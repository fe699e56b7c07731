"""Training of many runs: failures stay isolated, and several processes share the work."""

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

RunFactory = Callable[..., RunConfig]


@pytest.fixture
def scripted_run(pretraining: RunConfig, tmp_path: Path) -> RunFactory:
    """Return a function that creates options of runs of four steps with a `Scripted` objective."""

    def make(name: str, what: str = "fine", file: Path | None = None, **options: Any) -> RunConfig:
        words = f"what={what}" + (f",file={file}" if file else "")
        objective = f"tests.scripted:Scripted:{words}"
        config = changed(pretraining, epochs=1, objective=objective, out=tmp_path / "runs" / name)
        return changed(config, **options)

    return make


def states(configs: list[RunConfig]) -> list[str]:
    return [Run(config.out).state for config in configs]


def log_lines(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def test_failed_runs_do_not_stop_the_others(scripted_run: RunFactory) -> None:
    configs = [
        scripted_run("a", "defect"),
        scripted_run("b", "full"),
        scripted_run("c", "memory"),
        scripted_run("d", width=48),
        scripted_run("e", privileged="vector:5", privileged_encoder="mlp"),
        scripted_run("f"),
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
def test_dead_worker_fails_only_its_own_run_and_others_train_equal_weights(
    scripted_run: RunFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "available_gpus", lambda _: ["3", "GPU-5"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    file = tmp_path / "log"
    behaviours = {"a": "killed", "b": "tells", "c": "crashed", "d": "defect"}
    configs = [scripted_run(name, what, file, device="auto") for name, what in behaviours.items()]
    with pytest.raises(TrainingError, match=r"^3 of 4 runs failed"):
        run_all(configs)  # as many in parallel as there are GPUs
    assert states(configs) == ["failed", "done", "failed", "failed"]
    a, _, c, d = (Run(config.out).failure for config in configs)
    assert a == "Its process was killed by SIGKILL, perhaps because memory ran out."
    assert c == "Its process exited with code 3."
    assert d == "IndexError: index 7 is out of bounds"

    lines = log_lines(file)
    assert len(lines) == 4
    assert {(gpu, mode) for _, gpu, mode, _ in lines} == {("3", "lines"), ("GPU-5", "lines")}
    # The worker of `b` also trained another run.
    assert len({process for process, *_ in lines}) == 3
    assert "CUDA_VISIBLE_DEVICES" not in os.environ

    here = train(scripted_run("here", "tells", file, device="auto"))
    assert here.weights_path.read_bytes() == Run(configs[1].out).weights_path.read_bytes()


def worker(output: str, code: int) -> workers._Worker:
    """A worker whose process writes this output and exits."""
    process = SimpleNamespace(stdin=StringIO(), stdout=StringIO(output), wait=lambda: code)
    new = object.__new__(workers._Worker)
    new.process = cast(Any, process)
    return new


def test_progress_error_does_not_fail_the_run(scripted_run: RunFactory) -> None:
    def raise_disk_full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with progress.reported_to(raise_disk_full):
        assert worker('["a", 0.5, ""]\nnull\n', 0).train(scripted_run("a")) is None
        assert (
            worker('["a", 0.5, ""]\n"OSError: it"\n', 0).train(scripted_run("a")) == "OSError: it"
        )


@pytest.mark.parametrize(
    ("output", "code", "failure"),
    [
        ("", 1, "Its process exited with code 1."),
        ('["a", 0.5, ""]\n["a", 0.', -9, "by SIGKILL, perhaps because memory ran out."),
        ("", -11, "Its process was killed by SIGSEGV."),
        ("", -40, "Its process was killed by signal 40."),  # a real-time signal has no name
    ],
)
def test_exit_reason_of_a_worker_is_named(
    output: str, code: int, failure: str, scripted_run: RunFactory
) -> None:
    assert str(worker(output, code).train(scripted_run("a"))).endswith(failure)


def test_shared_run_is_trained_once(scripted_run: RunFactory, tmp_path: Path) -> None:
    file = tmp_path / "log"
    run_all([scripted_run("a", "tells", file)] * 3, 1)
    run_all([scripted_run("a", "tells", file)], 1)
    assert len(log_lines(file)) == 1


def test_failed_run_is_retried_and_damaged_run_is_refused(scripted_run: RunFactory) -> None:
    complete, damaged = scripted_run("a"), scripted_run("b")
    Run(complete.out).fail("What went wrong before.")
    run_all([damaged], 1)
    Run(damaged.out).record_path.unlink()
    with pytest.raises(TrainingError, match=r"1 of 2 runs failed \(b\).* lost its run\.json"):
        run_all([damaged, complete], 1)
    assert states([complete, damaged]) == ["done", "failed"]
    assert Run(damaged.out).weights_path.exists()


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ["0", "1"]), ("4,6", ["4", "6"]), ("GPU-a,GPU-b,-1,2", ["GPU-a", "GPU-b"])],
)
def test_gpus_keep_their_visible_names(
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


def test_two_commands_in_one_folder_share_the_runs(
    scripted_run: RunFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.05)
    file, finished = tmp_path / "log", tmp_path / "over"
    configs = [scripted_run(str(seed), "tells", file, seed=seed) for seed in range(4)]

    def run_and_touch() -> None:
        run_all(configs, 1)
        finished.touch()

    with child(run_and_touch):
        run_all(configs, 1)
        assert states(configs) == ["done"] * 4
        until(finished.exists)
    assert len(log_lines(file)) == 4  # each run was trained once


def test_run_of_another_process_is_waited_for(
    scripted_run: RunFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "log"
    go = file.with_suffix(".go")
    other_config, own_config = scripted_run("a", "waits", file), scripted_run("b")

    def sleep(_: float) -> None:
        """Let the other process continue only when the runner waits for it."""
        assert Run(own_config.out).done
        go.touch()
        time.sleep(0.05)

    monkeypatch.setattr(runner, "time", SimpleNamespace(sleep=sleep))
    with child(lambda: train(other_config)) as process:
        until(lambda: Run(other_config.out).state == "running" and log_lines(file))
        run_all([other_config, own_config], 1)
        assert go.exists()
        assert Run(other_config.out).done
        assert [line[0] for line in log_lines(file)] == [str(process)]


def test_run_of_a_killed_process_is_resumed(
    scripted_run: RunFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.05)
    file = tmp_path / "log"
    config = scripted_run("a", "waits", file)
    with child(lambda: train(config)) as process:
        until(lambda: Run(config.out).state == "running" and log_lines(file))

        def kill() -> None:
            file.with_suffix(".go").touch()
            os.kill(process, signal.SIGKILL)

        os.kill(process, signal.SIGSTOP)
        threading.Timer(0.5, kill).start()
        run_all([config], 1)
    assert Run(config.out).done
    assert [line[0] for line in log_lines(file)] == [str(process), str(os.getpid())]


def test_run_that_fails_in_another_process_is_not_retried(
    scripted_run: RunFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.05)
    config = scripted_run("a")
    run = Run.begin(config, "hash")
    started = tmp_path / "begun"

    def fail() -> None:
        with run.training():
            started.touch()
            time.sleep(0.5)
            raise TrainingError("The loss is not finite.")

    with child(fail):
        until(started.exists)
        with pytest.raises(
            TrainingError, match=r"1 of 1 .* of the first: The loss is not finite\. The"
        ):
            run_all([config], 1)


def test_worker_that_cannot_start_fails_its_run(
    scripted_run: RunFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_no_memory(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr("morefromless.workers.subprocess.Popen", raise_no_memory)
    configs = [scripted_run("a"), scripted_run("b")]
    with pytest.raises(TrainingError, match=r"2 of 2 runs failed .* Cannot allocate memory"):
        run_all(configs, 2)
    assert "Cannot allocate memory" in str(Run(configs[1].out).failure)


def test_starting_worker_is_killed_with_the_others(
    scripted_run: RunFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    created: list[Any] = []
    starting, go = threading.Event(), threading.Event()

    class Worker:
        def __init__(self, *_: object) -> None:
            if created:
                starting.set()
                go.wait()
            self.alive = True
            created.append(self)

        def train(self, _: RunConfig) -> None:
            starting.wait()

        def kill(self) -> None:
            self.alive = False

    monkeypatch.setattr(workers, "_Worker", Worker)
    outcomes = workers.outcomes([scripted_run("a"), scripted_run("b")], 2, [])
    next(outcomes)
    threading.Timer(0.2, go.set).start()
    outcomes.close()
    assert [worker.alive for worker in created] == [False, False]


@pytest.mark.timeout(600)  # processes that import everything; the machine may be busy
def test_workers_share_cores_and_end_with_their_parent(
    scripted_run: RunFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "log"
    monkeypatch.setattr("morefromless.workers.available_cores", lambda: 7)
    configs = [scripted_run(str(seed), "waits", file, seed=seed) for seed in range(2)]
    with child(lambda: run_all(configs, 2)):
        until(lambda: len(log_lines(file)) == 2)
        # 3 threads x 2 workers <= 7 cores
        assert [line[3] for line in log_lines(file)] == ["3", "3"]
        assert states(configs) == ["running"] * 2
    until(lambda: not any(alive(int(line[0])) for line in log_lines(file)), seconds=30)
    until(lambda: states(configs) == ["begun"] * 2, seconds=30)


@pytest.mark.timeout(600)  # processes that import everything; the machine may be busy
def test_script_without_main_guard_starts_workers_and_ctrl_c_stops_them(
    scripted_run: RunFactory, tmp_path: Path
) -> None:
    file = tmp_path / "log"
    configs = [scripted_run(str(seed), "waits", file, seed=seed) for seed in range(2)]
    script = tmp_path / "script.py"
    script.write_text(
        "from morefromless.config import RunConfig, from_flat\n"
        "from morefromless.runner import run_all\n"
        "print('once')\n"
        f"run_all([from_flat(RunConfig, one) for one in {[to_flat(c) for c in configs]!r}], 2)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-u", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        text=True,
        process_group=0,
    ) as process:
        until(lambda: len(log_lines(file)) == 2 or process.poll() is not None)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        output, errors = process.communicate()
    assert output == "once\n"
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert not any(alive(int(line[0])) for line in log_lines(file))
    until(lambda: states(configs) == ["begun"] * 2, seconds=30)
    file.with_suffix(".go").touch()
    run_all(configs, 1)
    assert states(configs) == ["done"] * 2


def test_needed_disk_space_is_predicted(study: Study, scripted_run: RunFactory) -> None:
    trained = {run.arm.kind: run for run in study.runs}
    assert needed_bytes(list(trained.values())) == 0
    fresh = [changed(run, out=run.out.with_name("none")) for run in trained.values()]
    weights = sum((run.out / "weights.safetensors").stat().st_size for run in trained.values())
    assert needed_bytes(fresh, 0) == pytest.approx(weights, rel=0.02)
    # Two checkpoints of weights and two moments: the old one stays until the next is written.
    stopped = scripted_run("stopped", epochs=2, checkpoint_every=4, objective="vicreg")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "finish", lambda *_: None)
        train(stopped)
    checkpoints = 2 * Run(stopped.out).checkpoint.stat().st_size
    needed = needed_bytes([stopped], 1) - needed_bytes([stopped], 0)
    assert needed == pytest.approx(checkpoints, rel=0.03)


def test_runs_that_do_not_fit_on_the_disk_are_not_started(
    scripted_run: RunFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [scripted_run("a"), scripted_run("b", width=48)]
    usage = shutil.disk_usage("/")._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        ConfigError, match=r"need up to 0\.0\d GB, but the disk of .*runs has 0\.00"
    ):
        run_all(configs, 1)
    assert not configs[0].out.parent.exists()


def test_missing_gpu_is_reported_once(
    scripted_run: RunFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    configs = [scripted_run(name, device="gpu") for name in "ab"]
    with pytest.raises(ConfigError, match=r"^--device gpu was requested"):
        run_all(configs)
    assert not configs[0].out.parent.exists()


@pytest.mark.parametrize("encoder", ["resnet50", "keras-v1", "vit_small_patch16_224"])
def test_weight_sizes_are_computed_without_memory(scripted_run: RunFactory, encoder: str) -> None:
    """Two branches of ResNet-50 with expanders of 8192."""
    config = scripted_run("a", encoder=encoder, width=8192, size=224)
    inputs = 384 if encoder.startswith("vit") else 2048
    expander = inputs * 8192 + 2 * 8192**2 + 3 * 8192 + 4 * 8192
    # Keras counts 23,587,712 and timm 25,557,032 - 2,049,000 for ResNet-50, 22,050,664 - 385,000
    # for ViT-S/16.
    encoders = {"keras-v1": 23_534_592, "resnet50": 23_508_032, "vit_small_patch16_224": 21_665_664}
    parameters = 2 * (encoders[encoder] + expander)
    assert needed_bytes([config], 0) == pytest.approx(4 * parameters, rel=0.004)


def test_every_run_has_one_state_with_its_reason(scripted_run: RunFactory) -> None:
    configs = [scripted_run(name) for name in ("done", "running", "failed", "begun", "waiting")]
    done, running, failed, _, waiting = (Run(config.out) for config in configs)
    assert [run.state for run in status(map(Run, (c.out for c in configs)))] == ["waiting"] * 5
    assert not done.path.parent.exists()  # `status` writes nothing
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
