"""Jobs on a cluster, with submitit's local executor and with fake SLURM programs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from submitit.helpers import DelayedSubmission

from morefromless import cluster
from morefromless.cluster import Training, queued_jobs, submit
from morefromless.config import Cluster, RunConfig, to_flat
from morefromless.errors import ConfigError, MoreFromLessError
from morefromless.runner import status
from morefromless.runs import Run
from morefromless.training.train import train
from tests.conftest import changed
from tests.processes import exit_status

LOCAL = Cluster(cluster="local", minutes=60, gpus=0, cpus=1)
SLURM = Cluster(cluster="slurm")


@pytest.fixture
def configs(pretraining: RunConfig, tmp_path: Path) -> list[RunConfig]:
    """Options of a run that is pre-empted once, and of one that cannot be trained."""
    objective = f"tests.scripted:Preempted:once={tmp_path / 'once'}"
    preempted = changed(
        pretraining, out=tmp_path / "preempted", checkpoint_every=2, objective=objective, threads=1
    )
    failing = changed(pretraining, out=tmp_path / "failing", privileged="vector:5")
    return [preempted, failing]


@pytest.fixture
def enough_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the check of disk space, which other tests cover."""
    monkeypatch.setattr(cluster, "check_disk", lambda *_: None)


def test_preempted_run_is_requeued_and_ends_with_the_same_weights(
    configs: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    root = Path(__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", f"{root}{os.pathsep}{root / 'src'}")
    config = configs[0]
    (job,) = submit([config], tmp_path, LOCAL)
    assert submit([config], tmp_path, LOCAL) == []  # nothing is submitted twice
    assert queued_jobs([Run(config.out)]) == {config.out: job.job_id}
    job.wait()
    log = job.paths.stderr.read_text() + job.paths.stdout.read_text()
    assert "Bypassing signal SIGTERM" in log
    assert log.count("Starting with JobEnvironment") == 2
    assert job.paths.folder == tmp_path / "jobs"
    assert queued_jobs([Run(config.out)]) == {}

    assert Run(config.out).record.facts["resumed"] is True
    uninterrupted = train(changed(config, out=tmp_path / "whole"))
    expected, actual = (
        load_file(uninterrupted.weights_path),
        load_file(Run(config.out).weights_path),
    )
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_failure_reason_of_a_job_is_stored_with_its_run(configs: list[RunConfig]) -> None:
    with pytest.raises(MoreFromLessError) as caught:
        Training(configs[1])()
    run = Run(configs[1].out)
    assert run.state == "failed"
    assert run.failure == str(caught.value)


def test_requeued_job_is_unchanged(configs: list[RunConfig]) -> None:
    task = Training(configs[0])
    resubmission = task.checkpoint()
    assert isinstance(resubmission, DelayedSubmission)
    assert (resubmission.function, resubmission.args, resubmission.kwargs) == (task, (), {})


def test_loading_processes_do_not_requeue_the_job(
    configs: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: object) -> None:
        signal.signal(signal.SIGUSR2, lambda *_: (tmp_path / "again").touch())
        assert exit_status(lambda: signal.raise_signal(signal.SIGUSR2)) == 0

    monkeypatch.setattr(cluster, "train_run", load)
    # In a separate process, because the registered handlers stay until the process ends.
    assert exit_status(Training(configs[0])) == 0
    assert not (tmp_path / "again").exists()


PROGRAMS = {
    "srun": "exit 1",
    "sbatch": 'cp "$1" "$SLURM_PLAYED/$(ls $SLURM_PLAYED | wc -l).sh"\n'
    'if [ -e "$SLURM_PLAYED/refuse" ]; then echo "Invalid account" >&2; exit 1; fi\n'
    'echo "Submitted batch job $(ls $SLURM_PLAYED | wc -l)"',
    "squeue": 'cat "$SLURM_PLAYED/../queue"',
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install fake SLURM programs; return the folder with copies of the submitted scripts."""
    programs, scripts = tmp_path / "bin", tmp_path / "played"
    programs.mkdir()
    scripts.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_PLAYED", str(scripts))
    return scripts


@pytest.mark.usefixtures("enough_disk")
def test_slurm_script_has_the_requested_resources(
    configs: list[RunConfig], tmp_path: Path, slurm: Path
) -> None:
    options = Cluster(
        cluster="slurm",
        partition="gpu",
        account="lab",
        qos="low",
        constraint="a100",
        wckey="stain",
        minutes=90,
        cpus=6,
        memory=48,
    )
    jobs = submit(configs, tmp_path, options)
    assert [job.job_id for job in jobs] == ["1", "2"]
    script = (slurm / "0.sh").read_text()
    for line in (
        "partition=gpu",
        "account=lab",
        "qos=low",
        "constraint=a100",
        "wckey=stain",
        "time=90",
        "cpus-per-task=6",
        "mem=48GB",
        "gpus-per-node=1",
        "requeue",
        "signal=USR2@120",
        "job-name=preempted",
    ):
        assert f"#SBATCH --{line}\n" in script
    assert f"{tmp_path}/jobs" in script
    plain = tmp_path / "plain"
    submit([changed(configs[0], out=plain)], tmp_path, Cluster(cluster="slurm", gpus=0))
    script = (slurm / "2.sh").read_text()
    assert not any(word in script for word in ("--gpus", "--partition", "--account"))


@pytest.mark.usefixtures("enough_disk")
def test_queued_runs_are_not_submitted_again(
    configs: list[RunConfig], tmp_path: Path, slurm: Path
) -> None:
    queue = tmp_path / "queue"
    runs = [Run(config.out) for config in configs]
    runs[1].fail("What went wrong before.")
    submit(configs, tmp_path, SLURM)
    assert status(runs)[1].state == "waiting"  # it will be retried
    queue.write_text("1\n2\n77\n")
    assert submit(configs, tmp_path, SLURM) == []
    rows = status(runs, queued_jobs(runs))
    assert [(row.state, row.detail) for row in rows] == [("waiting", "job 1"), ("waiting", "job 2")]
    queue.write_text("2\n")  # the first was cancelled
    assert [job.job_id for job in submit(configs, tmp_path, SLURM)] == ["3"]
    assert json.loads((configs[0].out / "submitted.json").read_text())["job"] == "3"
    queue.unlink()  # squeue fails: nothing is submitted rather than submitted twice
    with pytest.raises(ConfigError, match="squeue does not respond, and 2 of the runs may be in"):
        submit(configs, tmp_path, SLURM)
    assert "job 3 (squeue does not respond" in status(runs, queued_jobs(runs))[0].detail
    assert len(list(slurm.glob("*.sh"))) == 3


@pytest.mark.usefixtures("enough_disk")
def test_finished_and_running_runs_are_not_submitted(
    configs: list[RunConfig], tmp_path: Path, slurm: Path
) -> None:
    done, running = (Run.begin(config, "hash") for config in configs)
    done.finish({"weight": torch.ones(1)}, {"seconds": 1.0}, {})
    with running.training():
        assert submit(configs, tmp_path, SLURM) == []
        assert [row.state for row in status([done, running])] == ["done", "running"]
    for damaged in ("[", "[]", '{"job": 7, "kind": [], "when": "", "host": ""}', "null"):
        (running.path / "submitted.json").write_text(damaged)  # it is submitted again
        assert queued_jobs([running]) == {}
        assert len(submit(configs, tmp_path, SLURM)) == 1
    assert len(list(slurm.iterdir())) == 4


@pytest.mark.usefixtures("enough_disk")
def test_rejected_job_is_a_one_line_error(
    configs: list[RunConfig], tmp_path: Path, slurm: Path
) -> None:
    (slurm / "refuse").touch()
    with pytest.raises(
        ConfigError, match=r"rejected the job of preempted \(Invalid account\); 0 of 2 are in"
    ):
        submit(configs, tmp_path, SLURM)
    assert not (configs[0].out / "submitted.json").exists()


@pytest.mark.usefixtures("enough_disk")
def test_missing_submitit_or_slurm_is_reported(
    configs: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="There is no SLURM on this machine"):
        submit(configs, tmp_path, SLURM)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(
        ConfigError, match=r"install it with: pip install 'morefromless\[cluster\]'"
    ):
        submit(configs, tmp_path, SLURM)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": 5}, "--minutes is 5; give 10 or more"),
        ({"gpus": 2}, "--gpus is 2, but a run trains on one"),
        ({"gpus": -1}, "--gpus is -1; give 0 or more"),
        ({"cpus": 0}, "--cpus is 0; give 1 or more"),
        ({"memory": 0}, "--memory is 0; give 1 or more"),
    ],
)
def test_invalid_cluster_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Cluster(cluster="slurm", **options)


def test_job_of_another_machine_or_time_is_not_queued(configs: list[RunConfig]) -> None:
    def queued(**fields: Any) -> dict[Path, str]:
        record = {
            "job": str(os.getpid()),
            "kind": "local",
            "host": os.uname().nodename,
            "when": "2026-01-01",
            **fields,
        }
        configs[0].out.mkdir(exist_ok=True)
        (configs[0].out / "submitted.json").write_text(json.dumps(record))
        return queued_jobs([Run(configs[0].out)])

    assert queued() == {}  # a process with that id, but not of submitit
    assert queued(host="elsewhere") == {}
    assert queued(job="none") == {}


@pytest.mark.timeout(900)  # two processes; the machine may be busy
def test_two_devices_start_two_processes_without_srun(
    pretraining: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A run of two stages: in both processes, the second stage starts from the files of the first.
    config = changed(pretraining, kind="fine-tuned", devices=2, epochs=1)
    for name, value in {"JOB_ID": "7", "NTASKS": "1", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    script = tmp_path / "mfl"
    script.write_text("from morefromless.cli import main\nmain()\n")
    options = tmp_path / "options.yaml"
    options.write_text(json.dumps(to_flat(config)))
    command = [sys.executable, script, "train", "--config", options]
    log = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert "MEMBER: 2/2" in log
    assert Run(config.out).done

    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(ConfigError, match="srun started this command 2 times, but --devices 2"):
        train(changed(config, out=config.out / "other"))
