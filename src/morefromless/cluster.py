"""Train runs as cluster jobs through submitit: one job per run, queued again if pre-empted."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morefromless import files
from morefromless.config import Cluster, RunConfig
from morefromless.documents import read_json
from morefromless.errors import ConfigError, first_line
from morefromless.files import now
from morefromless.runner import check_disk, unique
from morefromless.runs import Run
from morefromless.workers import train_run

if TYPE_CHECKING:
    from submitit import Job
    from submitit.helpers import DelayedSubmission

SQUEUE_SILENT = "squeue does not respond, so the job may have ended"

MAX_REQUEUES = 1000
"""How often a job may reach its time limit and be queued again; it resumes each time."""


@dataclass(frozen=True)
class Submission:
    """Contents of a run's submitted.json."""

    job: str
    kind: str
    when: str
    host: str


@dataclass(frozen=True)
class Training:
    """The function of a job. submitit calls `checkpoint` when it gets the signal before a
    pre-emption or the time limit, and queues the returned object again under the same job
    number."""

    config: RunConfig

    def __call__(self) -> None:
        # Worker processes that load patches also get the signal, but must not queue the job again.
        os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN))
        train_run(self.config)

    def checkpoint(self) -> "DelayedSubmission":
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(configs: Sequence[RunConfig], folder: Path, options: Cluster) -> "list[Job[Any]]":
    """Submit a job for every run that is not done, not being trained and not yet in the queue.

    Scripts and logs of the jobs are in `folder/jobs`. Raises `ConfigError` if submitit or the
    cluster is missing, if the cluster rejects a job or does not report its queue, or if the disk
    has too little space for the runs.
    """
    configs = [c for c in unique(configs) if Run(c.out).state not in ("done", "running")]
    queue = queued_jobs([Run(config.out) for config in configs])
    unknown = sum(SQUEUE_SILENT in job for job in queue.values())
    if unknown:
        raise ConfigError(
            f"squeue does not respond, and {unknown} of the runs may be in its queue; nothing was "
            "submitted, so run the command again when it responds."
        )
    waiting = [config for config in configs if config.out not in queue]
    if not waiting:
        return []
    check_disk(waiting, 1)  # how many jobs run in parallel is unknown
    executor = _executor(folder / "jobs", options)
    jobs: list[Job[Any]] = []
    for config in waiting:
        executor.update_parameters(name=config.out.name)
        Run(config.out).clear_failure()  # first: the job may fail immediately
        try:
            job = executor.submit(Training(config))
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"The cluster rejected the job of {config.out.name} ({first_line(error)}); "
                f"{len(jobs)} of {len(waiting)} are in the queue."
            ) from error
        submission = Submission(str(job.job_id), options.cluster, now(), socket.gethostname())
        files.write_json(config.out / "submitted.json", submission)
        jobs.append(job)
    return jobs


def queued_jobs(runs: Iterable[Run]) -> dict[Path, str]:
    """Return the job number by run folder, for jobs that are queued or running. If squeue does not
    respond, return all jobs that were ever submitted, with a remark."""
    submissions = {run.path: submission for run in runs if (submission := _submission(run))}
    slurm = any(submission.kind == "slurm" for submission in submissions.values())
    alive = _slurm_jobs() if slurm else None
    jobs = {}
    for path, submission in submissions.items():
        if submission.kind == "slurm" and alive is None:
            jobs[path] = f"{submission.job} ({SQUEUE_SILENT})"
        elif (
            _is_alive(submission) if submission.kind == "local" else submission.job in (alive or ())
        ):
            jobs[path] = submission.job
    return jobs


def _executor(folder: Path, options: Cluster) -> Any:
    try:
        import submitit
    except ImportError as error:
        raise ConfigError(
            "A cluster needs submitit; install it with: pip install 'morefromless[cluster]'"
        ) from error
    try:
        executor = submitit.AutoExecutor(
            folder, cluster=options.cluster, **{f"{options.cluster}_max_num_timeout": MAX_REQUEUES}
        )
    except RuntimeError as error:
        raise ConfigError(
            "There is no SLURM on this machine (srun was not found); run the command where jobs "
            "are submitted, or without a cluster."
        ) from error
    executor.update_parameters(
        timeout_min=options.minutes,
        gpus_per_node=options.gpus or None,
        cpus_per_task=options.cpus,
        mem_gb=options.memory,
        slurm_partition=options.partition,
        slurm_account=options.account,
        slurm_qos=options.qos,
        slurm_constraint=options.constraint,
        slurm_wckey=options.wckey,
        slurm_signal_delay_s=120,
        slurm_additional_parameters={"requeue": True},  # off by default on some clusters
    )
    return executor


def _submission(run: Run) -> Submission | None:
    with suppress(OSError, ValueError):
        return read_json(run.path / "submitted.json", Submission)
    return None


def _slurm_jobs() -> set[str] | None:
    """Return the numbers of the user's jobs that have not ended; None if SLURM does not respond."""
    command = ["squeue", "--noheader", "--format=%A", "--me"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return set(answer.stdout.split())


def _is_alive(submission: Submission) -> bool:
    """Whether a job on this machine, whose number is its process id, has not ended."""
    if submission.host != socket.gethostname():
        return False
    try:  # empty if the process is a zombie
        return b"submitit" in Path("/proc", submission.job, "cmdline").read_bytes()
    except OSError:
        return False
