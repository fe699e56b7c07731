"""Options of one run, and of a study of many runs."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from morefromless.config.bounds import check_at_least, check_between, refuse_repeats, take_paths
from morefromless.config.parts import Arm, Machine, Pairing, Planning, Probe, Sharing, Train
from morefromless.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One arm with one seed, in its own folder."""

    store: Positional[Path]
    """Folder that `mfl ingest` wrote."""
    out: Path
    """Folder of the run. An interrupted run in this folder resumes; a finished run is kept."""
    arm: Arm = field(default_factory=Arm)
    train: Train = field(default_factory=Train)
    pairing: Pairing = field(default_factory=Pairing)
    machine: Machine = field(default_factory=Machine)
    seed: int = 0
    """Seed of the initialisation, the order of the patches and the views."""
    devices: int = 1
    """Number of devices to train on; each gets an equal share of the batch."""
    threads: int = 0
    """Number of CPU threads of PyTorch; 0 is PyTorch's default."""

    def __post_init__(self) -> None:
        take_paths(self, "store", "out")
        check_between(0, 2**31 - 1, self, "seed")
        check_at_least(1, self, "devices")
        check_at_least(0, self, "threads")
        batch, parts = self.train.batch, self.pairing.accumulate or 1
        if batch % self.devices:
            raise ConfigError(
                f"--batch {batch} cannot be divided equally among {self.devices} devices; choose a "
                "multiple."
            )
        per_device = batch // self.devices
        if not self.arm.supervised and (per_device % parts or per_device == parts > 1):
            raise ConfigError(
                f"--accumulate {parts} does not divide {per_device} patches into equal parts of "
                "two or more; choose a divisor."
            )
        if self.machine.compile and self.devices > 1:
            raise ConfigError(f"--compile is for one device, not {self.devices}; remove it.")
        if self.machine.gradient_checkpointing and parts > 1:
            raise ConfigError(
                "--accumulate and --gradient-checkpointing both recompute activations; give one."
            )
        if self.arm.kind == "distillation" and not self.pairing.teacher:
            raise ConfigError(
                "--kind distillation has no teacher; give --teacher ENCODER:weights=FILE."
            )
        if self.pairing.missing == "pairs" and (self.arm.kind != "trident" or self.devices > 1):
            raise ConfigError(
                "--missing pairs is for --kind trident on one device: with two views, a patch "
                "without one of them has no pair."
            )

    @property
    def epochs(self) -> int:
        """Number of epochs of this run."""
        return (self.arm.fine_tune_epochs if self.arm.pretraining_arm else 0) or self.train.epochs

    def identity(self) -> dict[str, Any]:
        """Options that determine the run's weights and differ from the defaults, by name.

        An option that a later version adds has its default here, so existing runs keep their names.
        Options without effect on this kind of arm do not count: a symmetric run does not use the
        privileged modality, and only supervised runs learn from labels.
        """
        arm, pairing = self.arm, self.pairing
        if arm.pretraining_arm:
            start_identity = replace(self, arm=arm.pretraining_arm).identity()
            task = {} if arm.task == DEFAULTS["task"] else {"task": arm.task}
            epochs = {} if self.epochs == self.train.epochs else {"fine_tune_epochs": self.epochs}
            return {**start_identity, **task, **epochs, "kind": " ".join(arm.words)}
        names = {"kind", "primary"}
        pairing_names: set[str] = set()
        if arm.supervised:
            names |= {"task"}
        else:
            names |= {"objective"} if arm.kind == "distillation" else {"sharing", "objective"}
            pairing_names = {"width", "accumulate", "same_geometry"}
        if arm.kind in ("asymmetric", "symmetric", "trident"):
            pairing_names |= {"freeze", "no_expander"}
        if arm.kind in ("asymmetric", "trident"):
            names |= {"privileged"}
            pairing_names |= {"privileged_encoder", "privileged_size", "pairs"}
        if arm.kind == "distillation":
            names |= {"privileged", "objective"}
            pairing_names |= {"teacher", "teacher_size"} | (set() if arm.supervised else {"pairs"})
        if arm.kind == "trident":
            pairing_names |= {"missing"}
        settings = {name: getattr(arm, name) for name in names}
        settings |= {name: getattr(pairing, name) for name in pairing_names}
        settings |= {**vars(self.train), "seed": self.seed}
        return {name: value for name, value in settings.items() if value != DEFAULTS[name]}


DEFAULTS: dict[str, Any] = {
    **vars(Arm()),
    **vars(Pairing()),
    **vars(Train()),
    "seed": 0,
}
"""Defaults of the options that determine a run; a run's name omits options with these values."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Arms x modalities x objectives x seeds x tasks: what to train and what to evaluate."""

    store: Positional[Path]
    """Folder that `mfl ingest` wrote."""
    primary: tuple[str, ...] = ("downsample:7",)
    """Modalities that are present at inference, one comparison each: downsample:7 is the patch at 7
    x 7 px, full is the whole patch; mfl train --help lists others."""
    privileged: str = "full"
    """Modality that is present in training only."""
    seeds: int = 3
    """Runs of each arm; a verdict needs at least two."""
    first_seed: int = 0
    """Seed of each arm's first run; the following runs use the next seeds. For example, --seeds 5
    --first-seed 5 checks with five new seeds what seeds 0 to 4 suggested."""
    out: Path = Path("runs/compare")
    """Folder for the runs, the tables and the figures; finished runs are skipped."""
    sharing: tuple[Sharing, ...] = ("shared", "independent")
    """Weights of the branches: shared or independent. In the paper, asymmetric columns are
    independent and most symmetric columns are shared. Here both kinds are trained with both
    settings, so that sharing is not a confounder."""
    objectives: tuple[str, ...] = ("vicreg",)
    """Self-supervised objectives, each trained with all arms; see mfl train --help."""
    tasks: tuple[str, ...] = ("tissue",)
    """Tasks that every encoder is evaluated on, frozen, and that supervised arms are trained on:
    tissue, cell, or cell:by=area,ties=lowest,untyped=exclude ..."""
    distillation: tuple[str, ...] = ()
    """Also train students of --teacher, a frozen encoder of the privileged modality, with these
    objectives: regression, regression:cosine, relational, soft-labels and attention-transfer (the
    last two also learn the labels), or any of --objectives."""
    fine_tune: bool = False
    """Also fine-tune the encoders of the asymmetric and symmetric arms with a head, on the labels
    of the first of --tasks, with the same learning rate."""
    trident: bool = False
    """Also train TriDeNT: two views of the primary through one branch, and the privileged through
    its own."""
    dense_arms: bool = False
    """Also train symmetric and supervised encoders of the privileged modality."""
    both_ways: bool = False
    """Use each of the two modalities as privileged for the other: also train the dense arms, and
    evaluate both modalities (the paper's Table 2)."""
    references: tuple[str, ...] = ()
    """Published encoders to add as further rows, evaluated frozen on the same tasks at their own
    input size: resnet18:pretrained=true, hf-hub:owner/name:pretrained=true (both may download) or
    NAME:weights=FILE."""
    supervised_epochs: int = 0
    """Epochs of supervised arms and of fine-tuning; 0 is the same as --epochs."""
    steps: int = 0
    """Train every arm for this many steps, in whole epochs, instead of --epochs and
    --supervised-epochs. An arm with fewer patches, as with --pairs, then trains for more epochs."""
    train: Train = field(default_factory=Train)
    pairing: Pairing = field(default_factory=Pairing)
    machine: Machine = field(default_factory=Machine)
    probe: Probe = field(default_factory=Probe)
    planning: Planning = field(default_factory=Planning)
    jobs: int = 0
    """Number of runs in parallel; 0 is one per GPU or, without a GPU, one per CPU core."""
    runs: Path | None = None
    """Folder of the runs, which several studies can share; by default the folder runs in --out."""

    def __post_init__(self) -> None:
        take_paths(self, "store", "out", "runs")
        check_between(1, 1000, self, "seeds")
        check_between(0, 2**31 - self.seeds, self, "first_seed")
        check_at_least(0, self, "supervised_epochs", "steps", "jobs")
        for name in ("primary", "sharing", "objectives", "tasks"):
            values = getattr(self, name)
            if not values:
                raise ConfigError(f"--{name} needs at least one value.")
            refuse_repeats(name, values)
        refuse_repeats("distillation", self.distillation)
        if self.distillation and not self.pairing.teacher:
            raise ConfigError("--distillation has no teacher; give --teacher ENCODER:weights=FILE.")
        if self.pairing.missing == "pairs" and not self.trident:
            raise ConfigError("--missing pairs is for TriDeNT; give --trident too.")
        refuse_repeats("references", self.references)
        if self.privileged in self.primary:
            raise ConfigError(
                f"'{self.privileged}' is both --primary and --privileged, so no pair would be "
                "asymmetric; give two different modalities."
            )
        if self.both_ways and len(self.primary) > 1:
            raise ConfigError(
                "--both-ways needs exactly one --primary, to pair with the privileged modality."
            )

    @property
    def run_seeds(self) -> range:
        """The seeds of an arm's runs."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def length(self) -> str:
        """Training length of each run, such as `12 epochs`."""
        number, noun = (self.steps, "step") if self.steps else (self.train.epochs, "epoch")
        return f"{number} {noun}" + "s" * (number != 1)

    @property
    def runs_folder(self) -> Path:
        return self.runs or self.out / "runs"

    @property
    def frozen_folder(self) -> Path:
        """Folder for the representations of frozen branches, shared by all runs."""
        return self.machine.features or self.runs_folder.parent / "frozen"

    @property
    def modalities(self) -> tuple[str, ...]:
        """All modalities that may have encoders, the privileged one last."""
        return (*self.primary, self.privileged)

    @property
    def compared_modalities(self) -> tuple[str, ...]:
        """The modalities on which the arms are compared."""
        return self.modalities if self.both_ways else self.primary

    def encoder_of(self, modality: str) -> str:
        """The encoder of a modality; the privileged modality may have a different one."""
        if modality == self.privileged and self.pairing.privileged_encoder:
            return self.pairing.privileged_encoder
        return self.train.encoder
