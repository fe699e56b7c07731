"""Options of the demonstration, the reproduction, `mfl status` and `mfl report`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from morefromless.config.bounds import check_above_zero, check_at_least, check_between
from morefromless.config.parts import Device, Planning, Precision
from morefromless.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Where the demonstration writes, and its size."""

    out: Path = Path("runs/demo")
    """Folder for its stores, runs, tables and figures."""
    seeds: int = 3
    """Runs of each arm, at least 2, because one seed gives no verdict."""
    jobs: int = 0
    """Runs in parallel; 0 is one per CPU core."""

    def __post_init__(self) -> None:
        check_between(2, 1000, self, "seeds")
        check_at_least(0, self, "jobs")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Resources that each job requests from a cluster."""

    cluster: Literal["none", "slurm", "local"] = "none"
    """Where to train runs. none: on this machine. slurm: one job per run through submitit (extra
    `cluster`). The command returns immediately. `mfl status OUT` shows the progress, and the same
    command writes the tables when all runs are done. local: submitit's local executor, to try this
    out."""
    partition: str | None = None
    """Partition of the cluster; by default its own default."""
    account: str | None = None
    """Account to charge, if the cluster requires one."""
    qos: str | None = None
    """Quality of service, if the cluster requires one."""
    constraint: str | None = None
    """Features that a node must have."""
    wckey: str | None = None
    """Workload characterisation key, if the cluster requires one other than `submitit`."""
    minutes: int = 240
    """Time limit of a job in minutes. A run that needs longer is queued again and resumes from its
    checkpoint."""
    gpus: int = 1
    """GPUs per job: 1, or 0 to train on CPUs."""
    cpus: int = 8
    """CPU cores per job."""
    memory: int = 32
    """Memory per job in GB."""

    def __post_init__(self) -> None:
        check_at_least(10, self, "minutes")
        check_at_least(0, self, "gpus")
        check_at_least(1, self, "cpus", "memory")
        if self.gpus > 1:
            raise ConfigError(f"--gpus is {self.gpus}, but a run trains on one GPU; give 1 or 0.")


@dataclass(frozen=True, kw_only=True)
class ReproduceConfig:
    """Which experiments to reproduce, at which scale, on which store. Options that are not given
    have the scale's values."""

    experiments: Positional[tuple[str, ...]]
    """table1, table2, table-s2, table-s3, fig2, fig3, fig-s4, fig-s5, few-labels, few-pairs, or
    all."""
    scale: Literal["smoke", "small", "paper"] = "small"
    """smoke: synthetic tissue, minutes. small: any store, hours on two cores, minutes on a GPU.
    paper: NCT-CRC-HE-100K and CRC-VAL-HE-7K, ResNet-50, 224 px, 100 epochs."""
    store: Path | None = None
    """Folder that `mfl ingest` wrote; smoke generates its own store."""
    out: Path = Path("runs/reproduce")
    """Folder for runs, tables, figures and the report; finished runs are skipped."""
    planning: Planning = field(default_factory=Planning)
    protocol: Literal["text", "authors"] = "text"
    """Which conventions to use if the paper's text and the authors' code differ. text: the paper's
    text, with augmentation strengths for images in [0, 1]. authors: the authors' losses,
    augmentations, down-sampling, masks, Adam, clipping and encoder."""
    sides: tuple[int, ...] = ()
    """Sides in px that patches are down-sampled to."""
    encoders: tuple[str, ...] = ()
    """Encoders of Table S2."""
    encoder: str | None = None
    """Encoder of all other experiments."""
    size: int | None = None
    """Side length of the encoder's input images in px."""
    width: int | None = None
    """Width of the expander and of the embeddings."""
    epochs: int | None = None
    """Passes over the training patches."""
    supervised_epochs: int | None = None
    """Epochs of supervised arms, if they differ."""
    batch: int | None = None
    """Patches per step."""
    lr: float | None = None
    """Peak learning rate of Adam."""
    seeds: int | None = None
    """Runs of each arm."""
    probe_every: int | None = None
    """Steps between two points of the learning curves."""
    standardise: bool | None = None
    """Whether to scale features to unit variance before the probe."""
    precision: Precision | None = None
    """Autocast precision of the encoders."""
    device: Device | None = None
    """Device to train on."""
    workers: int | None = None
    """Number of processes that prefetch patches."""
    jobs: int | None = None
    """Runs in parallel on this machine."""
    cluster: Cluster = field(default_factory=Cluster)

    def __post_init__(self) -> None:
        check_at_least(1, self, "sides", "size", "width", "epochs", "supervised_epochs", "batch")
        check_at_least(0, self, "probe_every", "workers", "jobs")
        check_between(1, 1000, self, "seeds")
        check_above_zero(self, "lr")


@dataclass(frozen=True, kw_only=True)
class StatusConfig:
    """Which runs to list."""

    out: Positional[Path] = Path("runs")
    """Folder that mfl reproduce, compare, demo or train wrote, or a folder of several of them."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Which report to write."""

    out: Positional[Path] = Path("runs/reproduce")
    """Folder that mfl reproduce, compare or validate wrote."""
