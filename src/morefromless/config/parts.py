"""The parts of the configurations of runs and studies; each option and its help is written once."""

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
    """How to train an encoder, for any arm."""

    size: int = 224
    """Side length of the encoder's input images in px."""
    encoder: str = "resnet50"
    """A timm name (resnet18, vit_small_patch16_224 ...), keras-v1 (the authors' ResNet-50), mlp for
    vectors, or your own class as package.module:Class. Append :pretrained=true for timm's weights
    or :weights=FILE for a local file, which may be a run's weights.safetensors."""
    views: str = "table-s1"
    """Augmentations: table-s1 (the paper's list, with strengths for images in [0, 1]), authors (as
    in the published code), stain (table-s1's geometry, with jittered concentrations of H&E), plain
    (none)."""
    epochs: int = 100
    """Passes over the training patches."""
    batch: int = 128
    """Patches per step, summed over all devices."""
    lr: float = 1e-4
    """Peak learning rate of Adam, with cosine decay to zero."""
    warmup: float = 0.1
    """Length of the linear warm-up in epochs."""
    epsilon: float = 1e-8
    """Epsilon of Adam. The default is PyTorch's; the authors' Keras uses 1e-7."""
    clip_each: float | None = None
    """Clip the gradient of each weight tensor to this norm; no clipping by default. The authors'
    code clips at 1, for the sum over the batch."""
    precision: Precision = "32"
    """Autocast precision of encoders and expanders: bf16 on a GPU, or on a CPU with AVX-512 or AMX;
    16 on a GPU. Objectives and statistics are always computed in 32 bits."""

    def __post_init__(self) -> None:
        check_at_least(1, self, "size", "epochs", "batch")
        check_at_least(0, self, "warmup")
        check_above_zero(self, "lr", "epsilon", "clip_each")
        if self.warmup >= self.epochs:
            raise ConfigError(
                f"--warmup {self.warmup:g} is not shorter than the run (--epochs {self.epochs}); "
                "choose a shorter one."
            )
        if self.clip_each is not None and self.precision == "16":
            raise ConfigError("--clip-each needs unscaled gradients; give --precision bf16 or 32.")


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """How to build and pair the branches of a self-supervised run."""

    width: int = 8192
    """Width of the expander and of the embeddings."""
    privileged_encoder: str | None = None
    """Encoder of the privileged branch, if it differs from --encoder, as for vectors (mlp)."""
    freeze: tuple[Role, ...] = ()
    """Branches whose encoder is frozen, such as a foundation model as privileged teacher. A frozen
    encoder needs weights (:pretrained=true or :weights=FILE), gets patches without augmentation,
    and runs once per patch."""
    privileged_size: int | None = None
    """Input size of the privileged encoder in px, if it differs from --size."""
    teacher: str | None = None
    """Pretrained encoder of the privileged modality for --kind distillation; students learn its
    representation. It is frozen, gets patches without augmentation, and runs once per patch."""
    teacher_size: int | None = None
    """Input size of the teacher in px, if it differs from --size."""
    no_expander: tuple[Role, ...] = ()
    """Branches without an expander; the width of their representation must equal --width."""
    accumulate: int | None = None
    """Pass each batch through the branches in this many parts, to save memory. The objective
    still uses the whole batch, at the cost of a second forward pass. BatchNorm uses one part at
    a time."""
    same_geometry: bool = False
    """Draw one flip, crop and rotation per patch and apply it to all branches, so that registered
    modalities stay aligned. By default each branch draws its own, as in the paper."""
    pairs: float = 1.0
    """Share of the training patches, drawn by the seed, whose privileged view is used. Use it to
    measure how many pairs are needed."""
    missing: Missing = "drop"
    """What to do with training patches without one of the views (mfl ingest --missing keep): drop
    excludes them; pairs, for trident, trains on every two views that a patch has. Probes and
    supervised arms use every patch that has the view they need."""

    def __post_init__(self) -> None:
        check_at_least(1, self, "width", "accumulate", "privileged_size", "teacher_size")
        check_share(self, "pairs")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how to execute a run. These options do not change the identity of a run."""

    device: Device = "auto"
    """Device to train and evaluate on; auto uses a GPU if one is available."""
    workers: int = 0
    """Number of processes that prefetch patches, if these do not stay on the device."""
    resident: float = 2.0
    """Maximum GB of patches that stay on the device. They stay as the inputs of the branches if
    these fit. Otherwise, on a GPU, they stay as stored. 100,000 patches of 224 px need 120 GB as
    the inputs of two branches and 15 GB as stored. The limit holds for each of --jobs."""
    probe_every: int = 0
    """Steps between two points of the learning curve; 0 disables it. Each point is a ridge probe on
    frozen features of at most 2,000 training and 2,000 test patches."""
    checkpoint_every: int = 500
    """Steps between two checkpoints from which a run resumes."""
    log: tuple[Tracker, ...] = ()
    """Also log losses to Weights & Biases or MLflow (extras wandb, mlflow). Weights & Biases
    uploads them unless WANDB_MODE=offline is set. MLflow writes to the run's folder unless
    MLFLOW_TRACKING_URI names a server. CSV and TensorBoard files are always written."""
    compile: bool = False
    """Compile branches with torch.compile: a run starts one minute later, and its steps are faster.
    Results differ by rounding. A CPU needs a C++ compiler, a GPU needs Triton."""
    gradient_checkpointing: bool = False
    """Keep the activations of one encoder block at a time, and recompute them in the backward pass.
    Gradients are the same and memory is smaller, at the cost of a second forward pass."""
    features: Path | None = None
    """Folder for the representations of frozen branches, which runs can share. By default each run
    has its own, and mfl compare has one for all runs."""

    def __post_init__(self) -> None:
        check_at_least(1, self, "checkpoint_every")
        check_at_least(0, self, "probe_every", "workers", "resident")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Arm: what to train, on which modalities."""

    kind: ArmKind = "asymmetric"
    """asymmetric pairs primary with privileged. symmetric pairs primary with itself. trident does
    both: two views of the primary through one branch, and the privileged through its own (TriDeNT,
    Farndale et al. 2024). distillation learns from --teacher, a frozen encoder of the privileged
    modality. supervised learns the task's labels with a softmax head. fine-tuned does the same,
    starting from the encoder of the asymmetric run with the same options (or of the symmetric run,
    if --privileged equals --primary). That run is trained first if it does not exist."""
    sharing: Sharing = "independent"
    """Whether the branches share one set of weights (shared) or have one each (independent)."""
    objective: str = "vicreg"
    """vicreg, simclr, barlow-twins, clip or vse; for --kind distillation also regression,
    relational, soft-labels and attention-transfer; the authors' conventions as vicreg:authors,
    simclr:authors or barlow-twins:authors; or your own class as package.module:Class."""
    primary: str = "downsample:7"
    """Modality that is present at inference: downsample:7, full, full:ARRAY, macenko,
    image:ARRAY,channels=N, vector:LENGTH, nuclei,
    nuclei:palette=levels|raw|one-hot|colour,types=6 ..."""
    privileged: str = "full"
    """Modality that is present in training only."""
    task: str = "tissue"
    """Task to predict for each patch: tissue, or
    cell[:by=number|area,ties=first|lowest,untyped=count|exclude], the most frequent type of its
    nuclei. Supervised arms are trained on it. Probes and learning curves are evaluated on it.
    Self-supervised training uses no labels."""
    fine_tune_epochs: int = 0
    """Epochs of fine-tuning; 0 is --epochs, which is also the length of the self-supervised run
    before it."""

    def __post_init__(self) -> None:
        check_at_least(0, self, "fine_tune_epochs")

    @property
    def supervised(self) -> bool:
        """Whether the arm learns the task's labels, with its own head."""
        soft = self.kind == "distillation" and self.objective.partition(":")[0] == "soft-labels"
        return self.kind in ("supervised", "fine-tuned") or soft or self.compares_maps

    @property
    def pretraining_arm(self) -> "Arm | None":
        """The self-supervised arm whose encoder a fine-tuned arm starts from, or None."""
        if self.kind != "fine-tuned":
            return None
        kind: ArmKind = "symmetric" if self.privileged == self.primary else "asymmetric"
        return replace(self, kind=kind, fine_tune_epochs=0)

    @property
    def compares_maps(self) -> bool:
        """Whether the arm learns a teacher's feature maps, which differ for each augmented view."""
        name = self.objective.partition(":")[0]
        return self.kind == "distillation" and name == "attention-transfer"

    @property
    def words(self) -> tuple[str, ...]:
        """Words that distinguish the arms of one modality, such as `symmetric`, `shared`."""
        if self.kind == "supervised":
            return ("supervised",)
        if self.pretraining_arm:
            return (self.kind, *self.pretraining_arm.words)
        return (self.kind, self.objective if self.kind == "distillation" else self.sharing)

    @property
    def modalities(self) -> dict[str, str]:
        """Modality by branch name; `twin` is a second view of the primary."""
        if self.supervised:  # a teacher of soft labels runs once and has no branch
            return {"primary": self.primary}
        views = {"primary": self.primary, "twin": self.primary, "privileged": self.privileged}
        absent = {"symmetric": "privileged", "trident": None}.get(self.kind, "twin")
        return {name: modality for name, modality in views.items() if name != absent}

    @property
    def encoders(self) -> tuple[str, ...]:
        """Branches whose encoders a run saves: neither a second view of the primary, nor a
        teacher."""
        others = {"twin", "privileged"} if self.kind == "distillation" else {"twin"}
        return tuple(name for name in self.modalities if name not in others)

    def weights_key(self, branch: str) -> str:
        """Key of a branch's weights, equal for branches with the same weights."""
        if self.sharing == "shared" and self.kind != "distillation":  # a teacher is never shared
            return "shared"
        return "primary" if self.kind == "trident" and branch == "twin" else branch


@dataclass(frozen=True, kw_only=True)
class Planning:
    """What to print about runs before they are trained."""

    plan: bool = False
    """List the runs to train and the finished runs, with the disk space and memory that the rest
    needs. Train nothing."""
    time: bool = False
    """With --plan, also time a few steps of the smallest kind of run, and estimate the duration of
    all runs."""

    def __post_init__(self) -> None:
        if self.time and not self.plan:
            raise ConfigError("--time is part of a plan; give --plan too.")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The probe on frozen features."""

    probe: str = "softmax"
    """softmax (the paper's: one dense layer, trained by Adam), ridge (least squares in closed
    form), knn:20 (votes of the 20 nearest training patches), or your own class as
    package.module:Class."""
    probe_epochs: int = 100
    """Epochs of the softmax probe."""
    probe_lr: float = 1e-3
    """Learning rate of the softmax probe (Adam, constant)."""
    standardise: bool = False
    """Scale each feature to unit variance before the probe. The paper does not; without it, a probe
    on small features underfits."""
    labels: float = 1.0
    """Share of the training labels that the probe uses, drawn by the run's seed within each class
    (at least one per class). Supervised arms use all labels."""

    def __post_init__(self) -> None:
        check_at_least(1, self, "probe_epochs")
        check_above_zero(self, "probe_lr")
        check_share(self, "labels")

    @property
    def name(self) -> str:
        """Name of the probe in the names of the files that it writes."""
        if self.probe == "softmax":
            parts = ["standardised" if self.standardise else "linear"]
        else:
            parts = ["".join(c if c.isalnum() else "-" for c in self.probe)]
        if self.labels != 1:
            parts.append(f"labels-{self.labels:g}")
        if (self.probe_epochs, self.probe_lr) != (100, 1e-3):
            parts.append(f"{self.probe_epochs}-{self.probe_lr:g}")
        return "-".join(parts)
