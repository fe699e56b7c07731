"""Jobs on a cluster: by submitit's local executor, and by programs that play SLURM."""

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
from tests.processes import status_of

LOCAL = Cluster(cluster="local", minutes=60, gpus=0, cpus=1)
SLURM = Cluster(cluster="slurm")


@pytest.fixture
def two(pretraining: RunConfig, tmp_path: Path) -> list[RunConfig]:
    """A run that is pre-empted once, and one that cannot be trained."""
    objective = f"tests.scripted:Preempted:once={tmp_path / 'once'}"
    preempted = changed(
        pretraining, out=tmp_path / "preempted", checkpoint_every=2, objective=objective, threads=1
    )
    failing = changed(pretraining, out=tmp_path / "failing", privileged="vector:5")
    return [preempted, failing]


@pytest.fixture
def sized(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the disk has room is another test's."""
    monkeypatch.setattr(cluster, "check_disk", lambda *_: None)


def test_preempted_it_is_queued_again_and_ends_in_the_same_weights(
    two: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    root = Path(__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", f"{root}{os.pathsep}{root / 'src'}")
    one = two[0]
    (job,) = submit([one], tmp_path, LOCAL)
    assert submit([one], tmp_path, LOCAL) == []  # nothing is submitted twice
    assert queued_jobs([Run(one.out)]) == {one.out: job.job_id}
    job.wait()
    log = job.paths.stderr.read_text() + job.paths.stdout.read_text()
    assert "Bypassing signal SIGTERM" in log
    assert log.count("Starting with JobEnvironment") == 2
    assert job.paths.folder == tmp_path / "jobs"
    assert queued_jobs([Run(one.out)]) == {}

    assert Run(one.out).record.facts["resumed"] is True
    whole = train(changed(one, out=tmp_path / "whole"))
    expected, found = load_file(whole.weights_path), load_file(Run(one.out).weights_path)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_why_a_job_fails_stays_with_its_run(two: list[RunConfig]) -> None:
    with pytest.raises(MoreFromLessError) as caught:
        Training(two[1])()
    run = Run(two[1].out)
    assert run.state == "failed"
    assert run.failure == str(caught.value)


def test_a_job_is_queued_again_as_it_is(two: list[RunConfig]) -> None:
    task = Training(two[0])
    again = task.checkpoint()
    assert isinstance(again, DelayedSubmission)
    assert (again.function, again.args, again.kwargs) == (task, (), {})


def test_processes_that_load_patches_do_not_queue_a_job_again(
    two: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: object) -> None:
        signal.signal(signal.SIGUSR2, lambda *_: (tmp_path / "again").touch())
        assert status_of(lambda: signal.raise_signal(signal.SIGUSR2)) == 0

    monkeypatch.setattr(cluster, "train_run", load)
    # In a process, for what is registered lasts as long as it.
    assert status_of(Training(two[0])) == 0
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
    """A folder in which the programs of a SLURM that is played leave what they are given."""
    programs, played = tmp_path / "bin", tmp_path / "played"
    programs.mkdir()
    played.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_PLAYED", str(played))
    return played


@pytest.mark.usefixtures("sized")
def test_what_slurm_is_asked_for(two: list[RunConfig], tmp_path: Path, slurm: Path) -> None:
    asked = Cluster(
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
    jobs = submit(two, tmp_path, asked)
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
    submit([changed(two[0], out=plain)], tmp_path, Cluster(cluster="slurm", gpus=0))
    script = (slurm / "2.sh").read_text()
    assert not any(word in script for word in ("--gpus", "--partition", "--account"))


@pytest.mark.usefixtures("sized")
def test_what_is_in_slurms_queue_is_not_submitted_again(
    two: list[RunConfig], tmp_path: Path, slurm: Path
) -> None:
    queue = tmp_path / "queue"
    runs = [Run(one.out) for one in two]
    runs[1].fail("What went wrong before.")
    submit(two, tmp_path, SLURM)
    assert status(runs)[1].state == "waiting"  # it is tried again
    queue.write_text("1\n2\n77\n")
    assert submit(two, tmp_path, SLURM) == []
    rows = status(runs, queued_jobs(runs))
    assert [(row.state, row.detail) for row in rows] == [("waiting", "job 1"), ("waiting", "job 2")]
    queue.write_text("2\n")  # the first was cancelled
    assert [job.job_id for job in submit(two, tmp_path, SLURM)] == ["3"]
    assert json.loads((two[0].out / "submitted.json").read_text())["job"] == "3"
    queue.unlink()  # squeue fails: better none than twice
    with pytest.raises(ConfigError, match="squeue does not answer, and 2 of the runs may be in"):
        submit(two, tmp_path, SLURM)
    assert "job 3 (squeue does not answer" in status(runs, queued_jobs(runs))[0].detail
    assert len(list(slurm.glob("*.sh"))) == 3


@pytest.mark.usefixtures("sized")
def test_what_is_done_or_trained_is_not_submitted(
    two: list[RunConfig], tmp_path: Path, slurm: Path
) -> None:
    done, running = (Run.begin(one, "hash") for one in two)
    done.finish({"weight": torch.ones(1)}, {"seconds": 1.0}, {})
    with running.training():
        assert submit(two, tmp_path, SLURM) == []
        assert [row.state for row in status([done, running])] == ["done", "running"]
    for damaged in ("[", "[]", '{"job": 7, "kind": [], "when": "", "host": ""}', "null"):
        (running.path / "submitted.json").write_text(damaged)  # it is submitted anew
        assert queued_jobs([running]) == {}
        assert len(submit(two, tmp_path, SLURM)) == 1
    assert len(list(slurm.iterdir())) == 4


@pytest.mark.usefixtures("sized")
def test_what_the_cluster_refuses_is_one_sentence(
    two: list[RunConfig], tmp_path: Path, slurm: Path
) -> None:
    (slurm / "refuse").touch()
    with pytest.raises(
        ConfigError, match=r"does not take the job of preempted \(Invalid account\); 0 of 2 are in"
    ):
        submit(two, tmp_path, SLURM)
    assert not (two[0].out / "submitted.json").exists()


@pytest.mark.usefixtures("sized")
def test_without_submitit_or_slurm_it_is_said(
    two: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="There is no SLURM here"):
        submit(two, tmp_path, SLURM)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(
        ConfigError, match=r"install it with: pip install 'morefromless\[cluster\]'"
    ):
        submit(two, tmp_path, SLURM)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"minutes": 5}, "--minutes is 5; give 10 or more"),
        ({"gpus": 2}, "--gpus is 2, and a run trains on one"),
        ({"gpus": -1}, "--gpus is -1; give 0 or more"),
        ({"cpus": 0}, "--cpus is 0; give 1 or more"),
        ({"memory": 0}, "--memory is 0; give 1 or more"),
    ],
)
def test_what_cannot_be_asked_for(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Cluster(cluster="slurm", **options)


def test_a_job_of_another_machine_or_time_is_not_waited_for(two: list[RunConfig]) -> None:
    def queued(**fields: Any) -> dict[Path, str]:
        record = {
            "job": str(os.getpid()),
            "kind": "local",
            "host": os.uname().nodename,
            "when": "2026-01-01",
            **fields,
        }
        two[0].out.mkdir(exist_ok=True)
        (two[0].out / "submitted.json").write_text(json.dumps(record))
        return queued_jobs([Run(two[0].out)])

    assert queued() == {}  # a process of that number, but not submitit's
    assert queued(host="elsewhere") == {}
    assert queued(job="none") == {}


@pytest.mark.timeout(900)  # two processes; the machine may be busy
def test_two_devices_are_two_processes_in_a_job_without_srun(
    pretraining: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of two stages: the second begins, in both processes, from what the first one wrote.
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
