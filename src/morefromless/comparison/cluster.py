"""Carrying out a plan on a cluster: a job a run, queued again where it is pre-empted."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from morefromless.comparison.disk import check_disk
from morefromless.comparison.execute import Planned, train
from morefromless.data import atomic
from morefromless.data.lock import now
from morefromless.errors import ConfigError
from morefromless.runs import Run

if TYPE_CHECKING:
    from submitit import Job
    from submitit.helpers import DelayedSubmission

REQUEUES = 1000
"""How often a job may run out of its time and be queued again: it goes on where it was."""


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """What each job asks of a cluster."""

    kind: Literal["slurm", "local"] = "slurm"
    """slurm, or local: processes of this machine, all at once, to try it out."""
    partition: str | None = None
    """Partition of the cluster; by default its own default."""
    account: str | None = None
    """Account that is charged, where the cluster wants one."""
    minutes: int = 240
    """Time of a job. A run that needs longer is queued again and goes on from its checkpoint."""
    gpus: int = 1
    """GPUs of a job: 1, or 0 to train on CPUs."""
    cpus: int = 8
    """CPU cores of a job."""
    memory: int = 32
    """Memory of a job in GB."""

    def __post_init__(self) -> None:
        for name, least in (("minutes", 10), ("gpus", 0), ("cpus", 1), ("memory", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"--{name} is {getattr(self, name)}; give {least} or more.")
        if self.gpus > 1:
            raise ConfigError(f"--gpus is {self.gpus}, and a run trains on one; give 1, or 0.")


@dataclass(frozen=True)
class Training:
    """What a job does. submitit calls `checkpoint` upon the signal ahead of a pre-emption or of the
    end of its time, and queues what it returns under the same number."""

    one: Planned

    def __call__(self) -> None:
        # Processes that load patches are sent the signal too: they must not queue the job again.
        os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN))
        train(self.one)

    def checkpoint(self) -> "DelayedSubmission":
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(planned: Sequence[Planned], folder: Path, options: ClusterOptions) -> "list[Job[Any]]":
    """A job for every run that is not done, nor trained, nor in the queue already.

    Scripts and logs of the jobs lie in `folder/jobs`. Raises `ConfigError` where submitit or the
    cluster is missing, the cluster refuses, or the disk has no room for what the runs will write.
    """
    runs = list({one.run.path: one for one in planned}.values())
    queue = queued([one.run for one in runs])
    wanted = [
        one
        for one in runs
        if one.run.state not in ("done", "running") and one.run.path not in queue
    ]
    if not wanted:
        return []
    check_disk(runs, 1)  # how many the cluster starts at once is not known
    executor = _executor(folder / "jobs", options)
    jobs: list[Job[Any]] = []
    for one in wanted:
        executor.update_parameters(name=one.run.path.name)
        one.run.forgive()  # first, for the job may fail at once
        try:
            job = executor.submit(Training(one))
        except (OSError, RuntimeError) as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ConfigError(
                f"The cluster does not take the job of {one.run.path.name} ({reason}); "
                f"{len(jobs)} of {len(wanted)} are in the queue."
            ) from error
        atomic.write_json(
            one.run.path / "submitted.json",
            {"job": job.job_id, "kind": options.kind, "when": now(), "host": socket.gethostname()},
        )
        jobs.append(job)
    return jobs


def queued(runs: Iterable[Run]) -> dict[Path, str]:
    """Folder to number of the jobs that are queued or run; where the cluster cannot be asked, of
    all that were ever submitted."""
    submitted = {run.path: said for run in runs if (said := _submitted(run))}
    alive = _slurm_jobs() if any(s["kind"] == "slurm" for s in submitted.values()) else None
    return {
        path: said["job"]
        for path, said in submitted.items()
        if (_lives(said) if said["kind"] == "local" else alive is None or said["job"] in alive)
    }


def _executor(folder: Path, options: ClusterOptions) -> Any:
    try:
        import submitit
    except ImportError as error:
        raise ConfigError(
            "A cluster needs submitit; install it with: pip install 'morefromless[cluster]'"
        ) from error
    try:
        executor = submitit.AutoExecutor(
            folder, cluster=options.kind, **{f"{options.kind}_max_num_timeout": REQUEUES}
        )
    except RuntimeError as error:
        raise ConfigError(
            "There is no SLURM here (srun was not found); run the command where jobs are "
            "submitted, or without a cluster."
        ) from error
    executor.update_parameters(
        timeout_min=options.minutes,
        gpus_per_node=options.gpus or None,
        cpus_per_task=options.cpus,
        mem_gb=options.memory,
        slurm_partition=options.partition,
        slurm_account=options.account,
        slurm_signal_delay_s=120,
        slurm_additional_parameters={"requeue": True},  # some clusters do not let jobs by default
    )
    return executor


def _submitted(run: Run) -> dict[str, str] | None:
    with suppress(OSError, ValueError):
        said = json.loads((run.path / "submitted.json").read_text())
        if isinstance(said, dict) and {"job", "kind", "host"} <= said.keys():
            return said
    return None


def _slurm_jobs() -> set[str] | None:
    """Numbers of a user's jobs that are not over; None where SLURM does not answer."""
    command = ["squeue", "--noheader", "--format=%A", "--me"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return set(asked.stdout.split())


def _lives(said: dict[str, str]) -> bool:
    """Whether a job of this machine, which goes by the number of its process, is not over."""
    if said["host"] != socket.gethostname():
        return False
    try:  # empty where the process has ended and nobody has asked how
        return b"submitit" in Path("/proc", said["job"], "cmdline").read_bytes()
    except OSError:
        return False
