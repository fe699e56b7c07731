"""What each command can be told: typed, with the paper's values as defaults.

The command line, its help and `config.yaml` are all made from these dataclasses. Nothing here
imports the machinery, so that `mfl --help` answers at once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from morefromless.errors import ConfigError

Arm = Literal["asymmetric", "symmetric", "trident"]
Sharing = Literal["shared", "independent"]
Role = Literal["primary", "privileged"]
Precision = Literal["32", "bf16", "16"]
Device = Literal["auto", "cpu", "gpu"]
Missing = Literal["drop", "pairs"]


def modalities_of(arm: Arm, primary: str, privileged: str) -> dict[str, str]:
    """Branch name to modality; `twin` is a second view of the primary."""
    seen = {"primary": primary, "twin": primary, "privileged": privileged}
    without = {"asymmetric": "twin", "symmetric": "privileged", "trident": None}[arm]
    return {name: what for name, what in seen.items() if name != without}


def weight_owner(arm: Arm) -> dict[str, str]:
    """Branches that have no weights of their own, and whose they use."""
    return {"twin": "primary"} if arm == "trident" else {}


@dataclass(frozen=True, kw_only=True)
class IngestOptions:
    """What is decoded, where to, and how it is split."""

    source: Positional[str]
    """A folder of class folders or of NCT-CRC-HE-like names, a MedMNIST-style .npz file, a table of
    your own pairs (.csv or .parquet; docs/how-to/bring-your-own-pairs.md), consep:FOLDER,
    pannuke:FOLDER, conic:FOLDER, spatial:FOLDER,test=SECTION (H&E and gene expression), or
    synthetic[:patches=900,patients=30,size=64,seed=0,control=none|positive|negative]."""
    store: Positional[Path]
    """Folder to write; it appears whole, when all is decoded, or not at all."""
    split: Literal["auto", "random"] = "auto"
    """auto takes the source's own split where it has one; random draws one, by group where groups
    are known and by label."""
    test_share: float = 0.2
    """Share of the patches (or groups) that a drawn split keeps for testing."""
    group: str | None = None
    """Regular expression with one capturing group that finds the patient or slide in a path."""
    size: int | None = None
    """Side in px that patches must have; by default the commonest. Others are set aside."""
    resize: int | None = None
    """Side in px to store patches at (antialiased); by default as they are."""
    um_per_px: float | None = None
    """Magnification in µm per pixel, where the source does not know it."""
    nuclei: Path | None = None
    """Folder of nuclei segmentations, a file per image with the image's name: HoVer-Net .json or
    .mat, CoNSeP or Lizard .mat, TIAToolbox .dat or .db, QuPath .geojson, instance and type label
    images, .npy. `mfl segment` makes such a folder."""
    nuclei_format: str = "auto"
    """Format of those files: hovernet-json, mat, tiatoolbox-dat, tiatoolbox-db, label-images, npy,
    geojson, geojson:convention=centres ...; auto asks each file."""
    scheme: str = "pannuke"
    """Types of those nuclei: pannuke, consep, consep-seven, conic, or a YAML file with name, types
    (background first) and says (what your files say: type)."""
    cut: int | None = None
    """Side in px of the patches that larger tiles are cut to, side by side. A nucleus that a border
    cuts is drawn in each patch and counted in the one that holds most of it."""
    missing: Literal["drop", "keep"] = "drop"
    """What becomes of patches that lack a view which others have: drop sets them aside, keep takes
    them and remembers what is absent."""
    unlabelled: bool = False
    """The folder's paths name no tissue classes; the nuclei alone pose a task."""
    strict: bool = False
    """Stop at the first patch that would be set aside."""
    seed: int = 0
    """Of a drawn split."""
    workers: int = 0
    """Decoding threads; 0 is one a CPU core."""


@dataclass(frozen=True, kw_only=True)
class ViewsOptions:
    """What a contact sheet shows."""

    store: Positional[Path]
    """Folder that `mfl ingest` wrote."""
    out: Path = Path("views.png")
    """PNG file to write."""
    primary: tuple[str, ...] = ("downsample:7",)
    """Modalities that are present at inference."""
    privileged: str = "full"
    """Modality that is present in training only."""
    views: str = "table-s1"
    """Preset of augmentations: table-s1, authors or plain."""
    task: str = "tissue"
    """Task whose classes the rows are titled by: tissue or cell."""
    size: int = 224
    """Side in px of the images that the encoder sees."""
    draws: int = 3
    """Views drawn of each modality."""
    patches: int = 9
    """Patches shown, an equal number of each class as far as possible."""
    seed: int = 0
    """Of the choice of patches and of the views."""

    def __post_init__(self) -> None:
        for name in ("size", "draws", "patches"):
            _at_least(1, name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class SegmentOptions:
    """Which patches are segmented, by which weights, at which magnification."""

    source: Positional[str]
    """A folder of patches, or any source that `mfl ingest` takes."""
    out: Positional[Path]
    """Folder for a GeoJSON file a patch. Interrupted, the same command goes on there."""
    weights: Path | None = None
    """File with HoVer-Net weights (hovernet_fast-pannuke, from TIAToolbox's collection), for use
    without a network. Without it TIAToolbox downloads them once. They are licensed CC BY-NC-SA 4.0
    and not for commercial use."""
    um_per_px: float | None = None
    """Magnification of the patches in µm per pixel, where the source does not know it."""
    at: float = 0.25
    """Magnification that patches are brought to for the network, in µm per pixel: that of its
    training. Nuclei are brought back to the patches' own grid."""
    batch: int = 0
    """Windows of 256 px that the network sees at once; a patch of 224 px at 0.5 µm/px has nine. 0
    is 16 on a GPU and 1 on a CPU, which more would only fill with memory traffic."""
    device: Device = "auto"
    """Where to run the network."""

    def __post_init__(self) -> None:
        _at_least(0, "batch", self.batch)


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Whose nuclei are written, and where."""

    store: Positional[Path]
    """Folder that `mfl ingest` wrote, with nuclei."""
    out: Positional[Path]
    """Folder for a GeoJSON file a patch, which QuPath opens and `mfl ingest --nuclei` takes."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How an encoder is trained, whatever the arm; the defaults are the paper's (2.2)."""

    store: Positional[Path]
    """Folder that `mfl ingest` wrote."""
    size: int = 224
    """Side in px of the images that the encoder sees."""
    encoder: str = "resnet50"
    """A timm name (resnet18, vit_small_patch16_224 ...), keras-v1 (the authors' ResNet-50), mlp for
    vectors, or a class of yours as package.module:Class. Append :pretrained=true for timm's weights
    or :weights=FILE for a local file, which may be a run's weights.safetensors."""
    views: str = "table-s1"
    """Augmentations: table-s1 (the paper's list in sound units), authors (what the published code
    does), plain (none)."""
    epochs: int = 100
    """Passes over the training patches."""
    batch: int = 128
    """Patches a step, over all devices together."""
    lr: float = 1e-4
    """Highest learning rate of Adam; a cosine takes it to zero."""
    warmup: float = 0.1
    """Length of the linear warm-up in epochs."""
    epsilon: float = 1e-8
    """Adam's, PyTorch's by default; the authors' Keras has 1e-7."""
    clip_each: float | None = None
    """Clip the gradient of each weight tensor at this norm, as the authors' code does at 1, for the
    sum over the batch. By default none is clipped."""
    precision: Precision = "32"
    """Autocast of the encoders; objectives compute in 32 bits whatever it is."""
    device: Device = "auto"
    """Where to train."""
    workers: int = 0
    """Processes that read patches ahead where what is seen of them does not fit in memory."""
    probe_every: int = 0
    """Steps between two points of the learning curve (a ridge probe on frozen features of at most
    2,000 training and 2,000 test patches); 0 draws none."""
    checkpoint_every: int = 500
    """Steps between two checkpoints to resume from."""

    def __post_init__(self) -> None:
        for name in ("size", "epochs", "batch", "checkpoint_every"):
            _at_least(1, name, getattr(self, name))
        for name in ("warmup", "probe_every", "workers"):
            _at_least(0, name, getattr(self, name))
        if self.warmup >= self.epochs:
            raise ConfigError(
                f"--warmup {self.warmup:g} is as long as the run (--epochs {self.epochs}); "
                "choose a shorter one."
            )
        for name in ("lr", "epsilon", "clip_each"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(
                    f"--{name.replace('_', '-')} is {value}; give a number above 0, such as 1e-4."
                )
        if self.clip_each is not None and self.precision == "16":
            raise ConfigError("--clip-each needs unscaled gradients; give --precision bf16 or 32.")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(Recipe):
    """One run: one arm with one seed, in a folder of its own."""

    out: Path
    """Folder of the run. A run that was interrupted there goes on; one that is done is kept."""
    primary: str = "downsample:7"
    """Modality that is present at inference: downsample:7, full, full:ARRAY, vector:LENGTH, nuclei,
    nuclei:palette=levels|raw|one-hot|colour,types=6 ..."""
    task: str = "tissue"
    """What is predicted of a patch: tissue, or cell[:by=number|area,ties=first|lowest,
    untyped=count|exclude], the type of most of its nuclei. Supervised arms learn it, probes and
    curves ask it; self-supervised training sees no labels."""
    seed: int = 0
    """Initialisation, order of the patches and views all follow from it."""
    devices: int = 1
    """How many devices to train on, each with its share of the batch."""
    threads: int = 0
    """CPU threads of PyTorch; 0 leaves its own choice."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(1, "devices", self.devices)
        if self.batch % self.devices:
            raise ConfigError(
                f"--batch {self.batch} cannot be shared equally by {self.devices} devices; "
                "choose a multiple."
            )


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(TrainingOptions):
    """Self-supervised training of two branches."""

    privileged: str = "full"
    """Modality that is present in training only."""
    arm: Arm = "asymmetric"
    """asymmetric pairs primary with privileged; symmetric pairs primary with itself; trident does
    both at once: two views of the primary through one branch, and the privileged through its own
    (TriDeNT, Farndale et al. 2024)."""
    sharing: Sharing = "independent"
    """Whether the branches have one set of weights (shared) or one each (independent)."""
    objective: str = "vicreg"
    """vicreg, simclr, barlow-twins, clip, vse; the authors' conventions as vicreg:authors,
    simclr:authors, barlow-twins:authors; or a class of yours as package.module:Class."""
    width: int = 8192
    """Width of the expander and of the embeddings."""
    privileged_encoder: str | None = None
    """Encoder of the privileged branch where it is another one, as for vectors (mlp)."""
    freeze: tuple[Role, ...] = ()
    """Branches whose encoder is not trained, such as a foundation model as privileged teacher. It
    needs :pretrained=true or :weights=FILE, sees patches without augmentation, and is run once a
    patch."""
    bare: tuple[Role, ...] = ()
    """Branches without expander; their representation must be as wide as --width."""
    accumulate: int | None = None
    """Parts in which a batch goes through the branches, to fit in memory: the objective still sees
    all of it, at the price of a second forward pass. BatchNorm's statistics are each part's own."""
    pairs: float = 1.0
    """Share of the training patches, drawn by the seed, whose privileged view is used; for
    measuring what few pairs would do."""
    missing: Missing = "drop"
    """Training patches that lack a view (mfl ingest --missing keep): drop leaves them out; pairs,
    for trident, trains every two views that a patch has. Probes and supervised arms see every patch
    that has their own view."""

    def __post_init__(self) -> None:
        super().__post_init__()
        parts, share = self.accumulate or 1, self.batch // self.devices
        _at_least(1, "width", self.width)
        _at_least(1, "accumulate", parts)
        if share % parts or share == parts > 1:
            raise ConfigError(
                f"--accumulate {parts} does not part {share} patches into equal parts of "
                "two or more; choose a divisor."
            )
        _share("pairs", self.pairs)
        if self.missing == "pairs" and (self.arm != "trident" or self.devices > 1):
            raise ConfigError(
                "--missing pairs is for --arm trident on one device: with two views, a patch that "
                "lacks one has no pair."
            )

    @property
    def modalities(self) -> dict[str, str]:
        """Branch name to modality."""
        return modalities_of(self.arm, self.primary, self.privileged)


@dataclass(frozen=True, kw_only=True)
class SuperviseOptions(TrainingOptions):
    """Supervised training of the same encoder with a softmax head, by the same protocol."""


# What has no bearing on the weights that come out, so does not make a run another run.
INCIDENTAL = frozenset(
    {"store", "out", "device", "devices", "threads", "workers", "probe_every", "checkpoint_every"}
)
# What an option that came later has where nothing is different from before; it makes no other run.
UNCHANGED: dict[str, object] = {"missing": "drop", "pairs": 1.0, "epsilon": 1e-8}


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """The probe on frozen features; the defaults are the paper's (2.2)."""

    probe_epochs: int = 100
    """Passes of the probe over the training features."""
    probe_lr: float = 1e-3
    """Learning rate of the probe's Adam, constant."""
    standardise: bool = False
    """Bring each feature to unit variance first. The paper does not; without it the probe of an
    encoder with small features underfits."""
    labels: float = 1.0
    """Share of the training patches whose labels the probe sees, drawn by the run's seed within
    each class (one at least)."""

    def __post_init__(self) -> None:
        _share("labels", self.labels)

    @property
    def name(self) -> str:
        """How files that this probe made are told apart."""
        how = "standardised" if self.standardise else "linear"
        how += "" if self.labels == 1 else f"-labels-{self.labels:g}"
        usual = (self.probe_epochs, self.probe_lr) == (100, 1e-3)
        return how if usual else f"{how}-{self.probe_epochs}-{self.probe_lr:g}"


@dataclass(frozen=True, kw_only=True)
class ProbeRunOptions(ProbeOptions):
    """Which run is evaluated."""

    run: Positional[Path]
    """Folder of a finished run."""
    task: str | None = None
    """What is asked; by default the run's own task. A supervised run answers its own task with its
    own head, and any other with a probe, as every run."""
    store: Path | None = None
    """Where its store is, if it has moved."""
    device: Device = "auto"
    """Where features are computed."""


@dataclass(frozen=True, kw_only=True)
class LookOptions(ProbeOptions):
    """How encoders are looked into: between layers by CKA, at patches by GradCAM."""

    layers: str = "auto"
    """Layers that CKA compares: convolutions, blocks, names as a+b+c, or auto: convolutions, of a
    transformer blocks."""
    estimator: Literal["unbiased", "biased"] = "unbiased"
    """CKA's: unbiased, added up over batches (Nguyen et al. 2021); biased, of all patches as one
    batch (Kornblith et al. 2019)."""
    cka_patches: int = 1024
    """Test patches that CKA sees at most, drawn at random; 0 is all."""
    batch: int = 128
    """Patches a batch of CKA's; unbiased CKA does not depend on it but for its error."""
    show: tuple[str, ...] = ()
    """Ids of the patches in the GradCAM figures; by default, of training and test patches each, the
    one nearest to its class's mean representation."""
    seed: int = 0
    """Of the patches drawn."""
    device: Device = "auto"
    """Where encoders run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(0, "cka_patches", self.cka_patches)
        _at_least(4 if self.estimator == "unbiased" else 2, "batch", self.batch)


@dataclass(frozen=True, kw_only=True)
class ExplainOptions(LookOptions):
    """Which two runs are held against each other."""

    run_a: Positional[Path]
    """Folder of a finished run."""
    run_b: Positional[Path]
    """Folder of another, on the same store."""
    out: Path = Path("explained")
    """Folder for the page (index.html), its thumbnails, and the figures with their numbers."""
    branch: Role = "primary"
    """Encoders that are compared: of the modality that is present at inference, or of the other."""
    task: str | None = None
    """What is asked; by default the first run's own task."""
    store: Path | None = None
    """Where the store is, if it has moved."""
    gallery: Literal["disagree", "all"] = "disagree"
    """Test patches shown one by one: those on which the two disagree, or all."""
    map: Literal["pca", "umap"] = "pca"
    """How features are laid out in the plane; umap takes the extra `maps`."""
    cam_layer: str | None = None
    """Layer of the GradCAMs beside each patch; by default the first convolution of the last stage
    whose maps are 4 x 4 or larger. (The GradCAM figure has the first of every stage.)"""
    thumbnail: int = 96
    """Side in px of the pictures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(16, "thumbnail", self.thumbnail)


@dataclass(frozen=True, kw_only=True)
class RepresentOptions(LookOptions):
    """Whose representations are compared, over all runs of its arms."""

    comparison: Positional[Path]
    """Folder that `mfl compare` wrote."""
    primary: str | None = None
    """Modality whose encoders are compared; by default the comparison's first."""
    arms: tuple[str, ...] = ()
    """Arms, such as asymmetric-independent, supervised or random (untrained encoders); by default
    all that were compared, and random."""
    out: Path | None = None
    """Folder for figures and numbers; by default `representations` in the comparison's folder."""
    store: Path | None = None
    """Where the store is, if it has moved."""


@dataclass(frozen=True, kw_only=True)
class SeveralRuns(Recipe):
    """What all comparisons of several runs can be told."""

    seeds: int = 3
    """Runs of each arm, with seeds 0, 1, ..."""
    sharing: tuple[Sharing, ...] = ("shared", "independent")
    """Weights of the branches: one set, or one each. The paper's asymmetric columns are
    independent and most of its symmetric ones shared; here both have both, so that sharing is no
    confound."""
    width: int = 8192
    """Width of the expander and of the embeddings."""
    supervised_epochs: int = 0
    """Epochs of supervised arms; 0 is as many as the others."""
    standardise: bool = False
    """Bring each feature to unit variance for the probe. The paper does not; without it the probe
    of an encoder with small features underfits."""
    jobs: int = 0
    """Runs side by side; 0 is one a GPU, or one a CPU core where there is none."""
    labels: float = 1.0
    """Share of the training patches whose labels probes see; see mfl probe --help. Supervised arms
    see all."""
    runs: Path | None = None
    """Folder of the runs, which several comparisons may share; by default runs in --out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("seeds", "width"):
            _at_least(1, name, getattr(self, name))
        for name in ("supervised_epochs", "jobs"):
            _at_least(0, name, getattr(self, name))
        for name in ("primary", "tasks", "objectives", "sharing"):
            if not getattr(self, name, True):
                raise ConfigError(f"--{name} needs at least one value.")

    @property
    def probe(self) -> ProbeOptions:
        return ProbeOptions(standardise=self.standardise, labels=self.labels)


@dataclass(frozen=True, kw_only=True)
class CompareOptions(SeveralRuns):
    """Which arms are compared, on which pairs, with which seeds."""

    out: Path = Path("runs/compare")
    """Folder for the runs, the table and the figures; what is done there is not done again."""
    primary: tuple[str, ...] = ("downsample:7",)
    """Modalities that are present at inference, one comparison each."""
    privileged: str = "full"
    """Modality that is present in training only."""
    task: str = "tissue"
    """What is predicted of a patch: tissue, or cell[:by=number|area,ties=first|lowest,
    untyped=count|exclude], the type of most of its nuclei. Supervised arms learn it, probes and
    curves ask it; self-supervised training sees no labels."""
    objective: str = "vicreg"
    """vicreg, simclr, barlow-twins, clip, vse; the authors' conventions as vicreg:authors,
    simclr:authors, barlow-twins:authors; or a class of yours as package.module:Class."""
    privileged_encoder: str | None = None
    """Encoder of the privileged branch where it is another one, as for vectors (mlp)."""
    freeze: tuple[Role, ...] = ()
    """Branches of asymmetric arms whose encoder is not trained; see mfl pretrain --help."""
    bare: tuple[Role, ...] = ()
    """Branches of asymmetric arms without expander; see mfl pretrain --help."""
    trident: bool = False
    """Also train TriDeNT: two views of the primary through one branch, the privileged through its
    own."""
    pairs: float = 1.0
    """Share of the training patches whose privileged view asymmetric and TriDeNT arms use."""
    missing: Missing = "drop"
    """What TriDeNT makes of training patches that lack a view; see mfl pretrain --help."""
    dense_arms: bool = False
    """Also train symmetric and supervised encoders of the privileged modality itself."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.privileged in self.primary:
            raise ConfigError(
                f"'{self.privileged}' is both --primary and --privileged, so no pair would be "
                "asymmetric; give two different modalities."
            )


@dataclass(frozen=True, kw_only=True)
class TransferOptions(SeveralRuns):
    """Which encoders of two modalities are trained, and what each is asked."""

    out: Path = Path("runs/transfer")
    """Folder for the runs and the table; what is done there is not done again."""
    modalities: tuple[str, str] = ("nuclei", "full")
    """The two, sparse and dense; each is asymmetric training's partner of the other."""
    tasks: tuple[str, ...] = ("tissue", "cell")
    """What every encoder is asked, and what supervised ones are trained on: tissue, cell, or
    cell:by=area,ties=lowest,untyped=exclude ..."""
    objectives: tuple[str, ...] = ("vicreg", "simclr")
    """Self-supervised methods: vicreg, simclr, barlow-twins, clip, vse, or a class of yours."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.modalities)) < 2:
            raise ConfigError("--modalities are both the same, so nothing is paired; give two.")


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Where the demonstration writes."""

    out: Path = Path("runs/demo")
    """Folder for its stores, runs, tables and figures."""
    seeds: int = 2
    """Runs of each arm."""
    jobs: int = 0
    """Runs side by side; 0 is one a CPU core."""


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions:
    """Which experiments, at which scale, on which store; what is not said is the scale's."""

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
    plan: bool = False
    """Say what would be trained, what is done, and what time and disk the rest takes; train
    nothing."""
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
    """Side in px of the images that the encoder sees."""
    width: int | None = None
    """Width of the expander and of the embeddings."""
    epochs: int | None = None
    """Passes over the training patches."""
    supervised_epochs: int | None = None
    """Epochs of supervised arms, where they are others."""
    batch: int | None = None
    """Patches a step."""
    lr: float | None = None
    """Highest learning rate of Adam."""
    seeds: int | None = None
    """Runs of each arm."""
    probe_every: int | None = None
    """Steps between two points of the learning curves."""
    standardise: bool | None = None
    """Whether probes bring each feature to unit variance first."""
    precision: Precision | None = None
    """Autocast of the encoders."""
    device: Device | None = None
    """Where to train."""
    workers: int | None = None
    """Processes that read patches ahead."""
    jobs: int | None = None
    """Runs side by side on this machine."""
    cluster: Literal["none", "slurm", "local"] = "none"
    """Where runs are trained: none is here. slurm submits a job a run through submitit (extra
    `cluster`) and returns: `mfl status OUT` says how far they are, and the same command, once they
    are done, makes the tables. local is submitit's own executor, to try that out."""
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


@dataclass(frozen=True, kw_only=True)
class StatusOptions:
    """Whose runs are looked at."""

    out: Positional[Path] = Path("runs/reproduce")
    """Folder of mfl reproduce, or of runs of mfl compare or mfl transfer."""


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Whose report is written."""

    out: Positional[Path] = Path("runs/reproduce")
    """Folder of mfl reproduce."""


def _share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise ConfigError(f"--{name} is {value:g}; give a share above 0, 1 at most.")


def _at_least(least: int, name: str, value: float) -> None:
    if value < least:
        raise ConfigError(f"--{name.replace('_', '-')} is {value}; give {least} or more.")
