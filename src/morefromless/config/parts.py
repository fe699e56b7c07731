"""The parts that runs and studies are composed of; each option and its help stands once."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from morefromless.config.bounds import check_above_zero, check_at_least, check_share
from morefromless.errors import ConfigError

ArmKind = Literal["asymmetric", "symmetric", "trident", "distillation", "supervised", "fine-tuned"]
Sharing = Literal["shared", "independent"]
Role = Literal["primary", "privileged"]
Precision = Literal["32", "bf16", "16"]
Device = Literal["auto", "cpu", "gpu"]
Missing = Literal["drop", "pairs"]
Tracker = Literal["wandb", "mlflow"]


@dataclass(frozen=True, kw_only=True)
class Train:
    """How an encoder is trained, whatever the arm."""

    size: int = 224
    """Side in px of the images that the encoder takes."""
    encoder: str = "resnet50"
    """A timm name (resnet18, vit_small_patch16_224 ...), keras-v1 (the authors' ResNet-50), mlp for
    vectors, or a class of yours as package.module:Class. Append :pretrained=true for timm's weights
    or :weights=FILE for a local file, which may be a run's weights.safetensors."""
    views: str = "table-s1"
    """Augmentations: table-s1 (the paper's list in sound units), authors (what the published code
    does), stain (table-s1's geometry, and concentrations of H&E jittered), plain (none)."""
    epochs: int = 100
    """Passes over the training patches."""
    batch: int = 128
    """Patches per step, summed over all devices."""
    lr: float = 1e-4
    """Peak learning rate of Adam; it falls to zero along a cosine."""
    warmup: float = 0.1
    """Length of the linear warm-up in epochs."""
    epsilon: float = 1e-8
    """Epsilon of Adam. The default is PyTorch's; the authors' Keras has 1e-7."""
    clip_each: float | None = None
    """Clip the gradient of each weight tensor to this norm. By default none is clipped. The
    authors' code clips at 1, for the sum over the batch."""
    precision: Precision = "32"
    """Autocast of encoders and expanders: bf16 on a GPU, or on a CPU with AVX-512 or AMX; 16 on a
    GPU. Objectives and statistics are computed in 32 bits whatever it is."""

    def __post_init__(self) -> None:
        check_at_least(1, self, "size", "epochs", "batch")
        check_at_least(0, self, "warmup")
        check_above_zero(self, "lr", "epsilon", "clip_each")
        if self.warmup >= self.epochs:
            raise ConfigError(
                f"--warmup {self.warmup:g} is as long as the run (--epochs {self.epochs}); "
                "choose a shorter one."
            )
        if self.clip_each is not None and self.precision == "16":
            raise ConfigError("--clip-each needs unscaled gradients; give --precision bf16 or 32.")


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """How the branches of a self-supervised run are built and paired."""

    width: int = 8192
    """Width of the expander and of the embeddings."""
    privileged_encoder: str | None = None
    """Encoder of the privileged branch, if it differs from --encoder, as for vectors (mlp)."""
    freeze: tuple[Role, ...] = ()
    """Branches whose encoder is not trained, such as a foundation model as privileged teacher. It
    needs weights (:pretrained=true or :weights=FILE), takes patches without augmentation, and is
    run once a patch."""
    privileged_size: int | None = None
    """Input side in px of the privileged encoder, if it differs from --size."""
    teacher: str | None = None
    """Pretrained encoder of the privileged modality, whose representation students of --kind
    distillation learn. It is frozen, takes patches without augmentation, and is run once a
    patch."""
    teacher_size: int | None = None
    """Input side in px of the teacher, if it differs from --size."""
    no_expander: tuple[Role, ...] = ()
    """Branches without expander; their representation must be as wide as --width."""
    accumulate: int | None = None
    """Pass each batch through the branches in this many parts, to save memory. The objective still
    sees the whole batch, at the cost of a second forward pass; BatchNorm sees a part at a time."""
    same_geometry: bool = False
    """Draw one flip, crop and rotation for all branches of a patch, which its registered modalities
    then share; by default each branch draws its own, as in the paper."""
    pairs: float = 1.0
    """Share of the training patches, drawn by the seed, whose privileged view is used: to measure
    how many pairs are needed."""
    missing: Missing = "drop"
    """Training patches that lack a view (mfl ingest --missing keep): drop leaves them out; pairs,
    for trident, trains every two views that a patch has. Probes and supervised arms use every patch
    that has their own view."""

    def __post_init__(self) -> None:
        check_at_least(1, self, "width", "accumulate", "privileged_size", "teacher_size")
        check_share(self, "pairs")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how a run is carried out; nothing here changes which run it is."""

    device: Device = "auto"
    """Where to train and evaluate: auto takes a GPU where there is one."""
    workers: int = 0
    """Processes that read patches ahead, where they do not stay on the device."""
    resident: float = 2.0
    """GB of patches that may stay on the device: as the inputs of the branches where these fit, on
    a GPU else as they are stored. 100,000 patches of 224 px take 120 GB as the inputs of two
    branches and 15 GB as they are stored. Each of --jobs has as much."""
    probe_every: int = 0
    """Steps between two points of the learning curve (a ridge probe on frozen features of at most
    2,000 training and 2,000 test patches); 0 draws none."""
    checkpoint_every: int = 500
    """Steps between two checkpoints to resume from."""
    log: tuple[Tracker, ...] = ()
    """Also log losses to Weights & Biases, which sends them unless WANDB_MODE=offline is set, or to
    MLflow, in the run's folder unless MLFLOW_TRACKING_URI names a server (extras wandb, mlflow).
    CSV and TensorBoard files are always written."""
    compile: bool = False
    """Compile branches with torch.compile: a run starts a minute later, and its steps are faster.
    Results differ by rounding. A CPU needs a C++ compiler, a GPU needs Triton."""
    gradient_checkpointing: bool = False
    """Keep the activations of one encoder block at a time, and recompute them in the backward
    pass: the same gradients in less memory, at the cost of a second forward pass."""
    features: Path | None = None
    """Folder for the representations of frozen branches, which runs share; by default each run's
    own, and one for all runs of mfl compare."""

    def __post_init__(self) -> None:
        check_at_least(1, self, "checkpoint_every")
        check_at_least(0, self, "probe_every", "workers", "resident")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way of training."""

    kind: ArmKind = "asymmetric"
    """asymmetric pairs primary with privileged; symmetric pairs primary with itself; trident does
    both at once: two views of the primary through one branch, and the privileged through its own
    (TriDeNT, Farndale et al. 2024); distillation learns from --teacher, a frozen encoder of the
    privileged modality; supervised learns the task's labels with a softmax head; fine-tuned does
    so too, from the encoder of the asymmetric run of the same options (or, with a --privileged that
    is the --primary, of the symmetric one), which is trained first where it is not there."""
    sharing: Sharing = "independent"
    """Whether the branches have one set of weights (shared) or one each (independent)."""
    objective: str = "vicreg"
    """vicreg, simclr, barlow-twins, clip, vse; of --kind distillation also regression,
    relational, soft-labels and attention-transfer; the authors' conventions as
    vicreg:authors, simclr:authors, barlow-twins:authors; or a class of yours as
    package.module:Class."""
    primary: str = "downsample:7"
    """Modality that is present at inference: downsample:7, full, full:ARRAY, macenko,
    image:ARRAY,channels=N, vector:LENGTH, nuclei,
    nuclei:palette=levels|raw|one-hot|colour,types=6 ..."""
    privileged: str = "full"
    """Modality that is present in training only."""
    task: str = "tissue"
    """What is predicted of a patch: tissue, or cell[:by=number|area,ties=first|lowest,
    untyped=count|exclude], the type of most of its nuclei. Supervised arms learn it, probes and
    curves ask it; self-supervised training uses no labels."""
    fine_tune_epochs: int = 0
    """Epochs of fine-tuning; 0 is as many as --epochs, which the run takes that it begins from."""

    def __post_init__(self) -> None:
        check_at_least(0, self, "fine_tune_epochs")

    @property
    def supervised(self) -> bool:
        """Whether it learns the task's labels, with a head of its own."""
        soft = self.kind == "distillation" and self.objective.partition(":")[0] == "soft-labels"
        return self.kind in ("supervised", "fine-tuned") or soft or self.compares_maps

    @property
    def start(self) -> "Arm | None":
        """The self-supervised arm from whose encoder a fine-tuned one begins."""
        if self.kind != "fine-tuned":
            return None
        kind: ArmKind = "symmetric" if self.privileged == self.primary else "asymmetric"
        return replace(self, kind=kind, fine_tune_epochs=0)

    @property
    def compares_maps(self) -> bool:
        """Whether it learns a teacher's feature maps, which are each view's own."""
        name = self.objective.partition(":")[0]
        return self.kind == "distillation" and name == "attention-transfer"

    @property
    def words(self) -> tuple[str, ...]:
        """What tells arms apart, of one modality: `symmetric`, `shared`."""
        if self.kind == "supervised":
            return ("supervised",)
        if self.start:
            return (self.kind, *self.start.words)
        return (self.kind, self.objective if self.kind == "distillation" else self.sharing)

    @property
    def shared(self) -> bool:
        """Whether all branches have one set of weights, which a frozen teacher's student cannot."""
        return self.sharing == "shared" and self.kind != "distillation"

    @property
    def modalities(self) -> dict[str, str]:
        """Branch name to modality; `twin` is a second view of the primary."""
        if self.supervised:  # a teacher of labels is asked once, and is no branch
            return {"primary": self.primary}
        views = {"primary": self.primary, "twin": self.primary, "privileged": self.privileged}
        absent = {"symmetric": "privileged", "trident": None}.get(self.kind, "twin")
        return {name: modality for name, modality in views.items() if name != absent}

    @property
    def encoders(self) -> tuple[str, ...]:
        """Branches that a run hands over: not a second view of the primary, nor a teacher."""
        others = {"twin", "privileged"} if self.kind == "distillation" else {"twin"}
        return tuple(name for name in self.modalities if name not in others)

    @property
    def weight_owner(self) -> dict[str, str]:
        """Branches that have no weights of their own, and whose they use."""
        return {"twin": "primary"} if self.kind == "trident" else {}


@dataclass(frozen=True, kw_only=True)
class Planning:
    """What is said of runs before they are trained."""

    plan: bool = False
    """Say which runs would be trained, which are done, and what disk and memory the rest take;
    train nothing."""
    time: bool = False
    """With --plan, also time a few steps of the smallest kind of run, and estimate how long all
    runs take."""

    def __post_init__(self) -> None:
        if self.time and not self.plan:
            raise ConfigError("--time is part of a plan; give --plan too.")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The probe on frozen features."""

    probe: str = "softmax"
    """softmax (the paper's: one dense layer, trained by Adam), ridge (least squares in closed
    form), knn:20 (votes of the nearest training patches), or a class as package.module:Class."""
    probe_epochs: int = 100
    """Epochs of the softmax probe."""
    probe_lr: float = 1e-3
    """Learning rate of the softmax probe (Adam, constant)."""
    standardise: bool = False
    """Scale each feature to unit variance before the probe. The paper does not; without it, a probe
    on small features underfits."""
    labels: float = 1.0
    """Share of the training labels that the probe uses, drawn by the run's seed within each class
    (one at least). Supervised arms use all labels."""

    def __post_init__(self) -> None:
        check_at_least(1, self, "probe_epochs")
        check_above_zero(self, "probe_lr")
        check_share(self, "labels")

    @property
    def name(self) -> str:
        """How files that this probe made are told apart."""
        if self.probe == "softmax":
            parts = ["standardised" if self.standardise else "linear"]
        else:
            parts = ["".join(c if c.isalnum() else "-" for c in self.probe)]
        if self.labels != 1:
            parts.append(f"labels-{self.labels:g}")
        if (self.probe_epochs, self.probe_lr) != (100, 1e-3):
            parts.append(f"{self.probe_epochs}-{self.probe_lr:g}")
        return "-".join(parts)
