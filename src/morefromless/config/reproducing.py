"""What the demonstration and the reproduction can be asked."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from morefromless.config.bounds import check_above_zero, check_at_least, check_between
from morefromless.config.parts import Device, Planning, Precision
from morefromless.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Where the demonstration writes."""

    out: Path = Path("runs/demo")
    """Folder for its stores, runs, tables and figures."""
    seeds: int = 3
    """Runs of each arm, at least 2: one seed gives no verdict."""
    jobs: int = 0
    """Runs in parallel; 0 is one per CPU core."""

    def __post_init__(self) -> None:
        check_between(2, 1000, self, "seeds")
        check_at_least(0, self, "jobs")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What each job asks of a cluster."""

    cluster: Literal["none", "slurm", "local"] = "none"
    """Where runs are trained. none: here. slurm: one job per run through submitit (extra
    `cluster`); the command returns, `mfl status OUT` shows the progress, and the same command makes
    the tables when all are done. local: submitit's local executor, to try this out."""
    partition: str | None = None
    """Partition of the cluster; by default its own default."""
    account: str | None = None
    """Account to charge, if the cluster requires one."""
    qos: str | None = None
    """Quality of service, if the cluster requires one."""
    constraint: str | None = None
    """Features that a node must have."""
    wckey: str | None = None
    """Workload characterisation key, where the cluster wants one other than `submitit`."""
    minutes: int = 240
    """Time of a job. A run that needs longer is queued again and goes on from its checkpoint."""
    gpus: int = 1
    """GPUs of a job: 1, or 0 to train on CPUs."""
    cpus: int = 8
    """CPU cores of a job."""
    memory: int = 32
    """Memory of a job in GB."""

    def __post_init__(self) -> None:
        check_at_least(10, self, "minutes")
        check_at_least(0, self, "gpus")
        check_at_least(1, self, "cpus", "memory")
        if self.gpus > 1:
            raise ConfigError(f"--gpus is {self.gpus}, and a run trains on one; give 1, or 0.")


@dataclass(frozen=True, kw_only=True)
class ReproduceConfig:
    """Which experiments, at which scale, on which store; what is not given is the scale's."""

    experiments: Positional[tuple[str, ...]]
    """table1, table2, table-s2, table-s3, fig2, fig3, fig-s4, fig-s5, few-labels, few-pairs, or
    all."""
    scale: Literal["smoke", "small", "paper"] = "small"
    """smoke: synthetic tissue, minutes. small: any store, hours on two cores, minutes on a GPU.
    paper: NCT-CRC-HE-100K and CRC-VAL-HE-7K, ResNet-50, 224 px, 100 epochs."""
    store: Path | None = None
    """Folder that `mfl ingest` wrote; smoke draws its own."""
    out: Path = Path("runs/reproduce")
    """Folder for runs, tables, figures and the report; what is done there is not done again."""
    planning: Planning = field(default_factory=Planning)
    protocol: Literal["text", "authors"] = "text"
    """Where the paper's text and its authors' code differ: text in sound units, or authors: their
    conventions of the losses, augmentations, down-sampling, masks, Adam, clipping and encoder."""
    sides: tuple[int, ...] = ()
    """Sides in px that patches are down-sampled to."""
    encoders: tuple[str, ...] = ()
    """Encoders of Table S2."""
    encoder: str | None = None
    """Encoder of all other experiments."""
    size: int | None = None
    """Side in px of the images that the encoder takes."""
    width: int | None = None
    """Width of the expander and of the embeddings."""
    epochs: int | None = None
    """Passes over the training patches."""
    supervised_epochs: int | None = None
    """Epochs of supervised arms, if they differ."""
    batch: int | None = None
    """Patches a step."""
    lr: float | None = None
    """Peak learning rate of Adam."""
    seeds: int | None = None
    """Runs of each arm."""
    probe_every: int | None = None
    """Steps between two points of the learning curves."""
    standardise: bool | None = None
    """Whether features are scaled to unit variance before the probe."""
    precision: Precision | None = None
    """Autocast of the encoders."""
    device: Device | None = None
    """Where to train."""
    workers: int | None = None
    """Processes that prefetch patches."""
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
    """Whose runs are looked at."""

    out: Positional[Path] = Path("runs")
    """Folder of mfl reproduce, compare, demo or train, or one that holds several of them."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Whose report is written."""

    out: Positional[Path] = Path("runs/reproduce")
    """Folder of mfl reproduce, compare or validate."""
