"""What every other command can be asked."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from morefromless.config.bounds import above_zero, at_least, between, choice, share
from morefromless.config.help import File
from morefromless.config.parts import Device, Precision, Probe, Role
from morefromless.config.storing import Storing
from morefromless.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class IngestConfig(Storing):
    """What is decoded, where to, and how it is split."""

    source: Positional[str]
    """A folder of class folders or of NCT-CRC-HE-like names, an archive of one (.zip, .tar,
    .tar.gz; it need not be unpacked), a MedMNIST-style .npz file, a table of
    your own pairs (.csv or .parquet; docs/how-to/bring-your-own-pairs.md), consep:FOLDER,
    pannuke:FOLDER, conic:FOLDER, spatial:FOLDER,test=SECTION (H&E and gene expression), or
    synthetic[:patches=900,patients=30,size=64,seed=0,control=none|positive|negative]."""
    store: Positional[Path]
    """Folder to write; it appears whole, when all is decoded, or not at all."""
    size: int | None = None
    """Side in px that patches must have; by default the commonest. Others are rejected."""
    resize: int | None = None
    """Side in px to store patches at (antialiased); by default as they are."""
    um_per_px: float | None = None
    """Magnification in µm per pixel, where the source does not know it."""
    nuclei: Path | None = None
    """Folder of nuclei segmentations, a file per image with the image's name: HoVer-Net .json or
    .mat, CoNSeP or Lizard .mat, HoVer-NeXt, CellViT, TIAToolbox .dat or .db, QuPath .geojson,
    label images, points, .npy. `mfl segment` makes such a folder."""
    nuclei_format: str = "auto"
    """Format of those files: hovernet-json, mat, hover-next, cellvit, tiatoolbox-dat,
    tiatoolbox-db, label-images, points, npy, geojson, geojson:convention=centres ...; auto asks
    each file."""
    scheme: str = "pannuke"
    """Types of those nuclei: pannuke, consep, consep-seven, conic, untyped, or a YAML file with
    name, types (background first) and aliases (raw type in your files: type)."""
    cut: int | None = None
    """Side in px of the patches that larger tiles are cut to, side by side. A nucleus that a border
    cuts is drawn in each patch and counted in the one that holds most of it."""
    missing: Literal["drop", "keep"] = "drop"
    """What becomes of patches that lack a view which others have: drop rejects them, keep takes
    them and remembers what is absent."""
    unlabelled: bool = False
    """The folder's paths name no tissue classes: for self-supervised training (mfl train), or where
    nuclei pose the task."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "size", "resize", "cut")
        above_zero(self, "um_per_px")
        choice(self, "missing")


@dataclass(frozen=True, kw_only=True)
class HoldOutConfig:
    """Which store is split, and how."""

    store: Positional[Path]
    """Folder that `mfl ingest` wrote."""
    out: Positional[Path]
    """Folder for the store of its training patches alone, part of which stand in test."""
    share: float = 0.2
    """Share of the training patches that are held out."""
    clusters: int = 50
    """Clusters of like colours, which are held out whole where groups are not known."""
    seed: int = 0
    """Of the clusters and of the draw."""

    def __post_init__(self) -> None:
        between(0, 2**31 - 1, self, "seed")
        at_least(2, self, "clusters")
        share(self, "share")
        if self.share == 1:
            raise ConfigError("--share is 1; give a share below 1, which leaves some to train.")


@dataclass(frozen=True, kw_only=True)
class FetchConfig:
    """Which public data set is fetched, and from where."""

    name: Positional[str] = ""
    """Its name, such as crc-val-he-7k; without it, all are listed."""
    folder: Positional[str] = ""
    """Folder for its files; without it, the datasheet is shown. A download that was cut goes on
    there."""
    local: Path | None = None
    """File, or folder of the files, that was fetched elsewhere: it is verified and copied, and no
    network is called."""
    mirror: str | None = None
    """Address below which the files lie under their names, in place of the published one."""
    accept_licence: bool = False
    """Accept a licence that forbids commercial use."""


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """What a contact sheet shows."""

    store: Positional[Path]
    """Folder that `mfl ingest` wrote."""
    primary: tuple[str, ...] = ("downsample:7",)
    """Modalities that are present at inference."""
    privileged: str = "full"
    """Modality that is present in training only."""
    out: File = Path("views.png")
    """File to write: .png or .pdf."""
    views: str = "table-s1"
    """Preset of augmentations: table-s1, authors, stain or plain."""
    task: str = "tissue"
    """Task whose classes the rows are titled by: tissue or cell."""
    size: int = 224
    """Side in px of the images that the encoder takes."""
    draws: int = 3
    """Views drawn of each modality."""
    patches: int = 9
    """Patches shown, an equal number of each class as far as possible."""
    seed: int = 0
    """Of the choice of patches and of the views."""

    def __post_init__(self) -> None:
        if self.out.suffix not in (".png", ".pdf"):
            raise ConfigError(f"--out {self.out} ends in neither .png nor .pdf; name such a file.")
        at_least(1, self, "size", "draws", "patches")
        between(0, 2**31 - 1, self, "seed")


@dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """Which patches are segmented, by which weights, at which magnification."""

    source: Positional[str]
    """A folder of patches, or any source that `mfl ingest` takes."""
    out: Positional[Path]
    """Folder for a GeoJSON file a patch. Interrupted, the same command goes on there."""
    weights: File | None = None
    """File with HoVer-Net weights (hovernet_fast-pannuke, from TIAToolbox's collection), for use
    without a network. Without it TIAToolbox downloads them once. They are licensed CC BY-NC-SA 4.0
    and not for commercial use."""
    um_per_px: float | None = None
    """Magnification of the patches in µm per pixel, where the source does not know it."""
    at: float = 0.25
    """Magnification that patches are brought to for the network, in µm per pixel: that of its
    training. Nuclei are brought back to the patches' own grid."""
    batch: int = 0
    """Windows of 256 px a pass of the network; a patch of 224 px at 0.5 µm/px has nine. 0
    is 16 on a GPU and 1 on a CPU, which more would only fill with memory traffic."""
    device: Device = "auto"
    """Where to run the network."""

    def __post_init__(self) -> None:
        at_least(0, self, "batch")
        above_zero(self, "um_per_px", "at")


@dataclass(frozen=True, kw_only=True)
class ExportNucleiConfig:
    """Whose nuclei are written, and where."""

    store: Positional[Path]
    """Folder that `mfl ingest` wrote, with nuclei."""
    out: Positional[Path]
    """Folder for a GeoJSON file an image, which QuPath opens and `mfl ingest --nuclei` takes. What
    was cut is put together again."""


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Which run is evaluated, and how."""

    run: Positional[Path]
    """Folder of a finished run."""
    task: str | None = None
    """What is asked; by default the run's own task. A supervised run answers its own task with its
    own head, and any other with a probe, as every run."""
    store: Path | None = None
    """Where its store is, if it has moved."""
    questions: tuple[str, ...] = ()
    """What is asked beside: few-shot (accuracy with 1, 5, 10 and 20 labels a class), retrieval (the
    privileged view that belongs to a primary one), expression (Pearson's correlation of genes), or
    a class as package.module:Class."""
    probe: Probe = field(default_factory=Probe)
    trust: bool = False
    """Import classes from outside the package that the run names; only for runs of your own."""
    device: Device = "auto"
    """Where features are computed."""


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Which encoder is used, and where."""

    branch: Role = "primary"
    """Encoder of the modality that is present at inference, or of the privileged one."""
    trust: bool = False
    """Import classes from outside the package that the run names; only for runs of your own."""
    device: Device = "auto"
    """Where the encoder runs."""


@dataclass(frozen=True, kw_only=True)
class Inputs(Loading):
    """What an encoder is given, and how it is read."""

    um_per_px: float | None = None
    """Magnification of the inputs in µm per pixel, where they do not state it."""
    at: float | None = None
    """Magnification that the encoder is given, in µm per pixel; by default that of its training.
    Slides are read at it."""

    def __post_init__(self) -> None:
        above_zero(self, "um_per_px", "at")


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """Whose features are computed, of what, and where they go."""

    encoder: Positional[str]
    """Folder of a finished run, folder or file that `mfl export` wrote, or a specification with
    weights, such as resnet50:pretrained=true or hf-hub:owner/name:pretrained=true."""
    inputs: Positional[tuple[str, ...]]
    """Folders of patches, stores, tables, image files, slides, folders of slides; a .tif file of
    more than 1,024 px is a slide. Any other source of `mfl ingest` will do."""
    to: Path
    """File to write: .h5 (features and coords, as slide tools read them), .parquet, .h5ad or .npz.
    Interrupted, the same command goes on where it was."""
    reading: Inputs = field(default_factory=Inputs)


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Whose classes are predicted, of what, and where they go."""

    encoder: Positional[str]
    """Folder of a finished run, or folder that `mfl export` wrote; with --store also a
    specification with weights, such as resnet50:pretrained=true."""
    inputs: Positional[tuple[str, ...]]
    """Folders of patches, stores, tables, image files, slides, folders of slides; a .tif file of
    more than 1,024 px is a slide. Any other source of `mfl ingest` will do."""
    to: Path
    """File to write: .csv or .parquet. Interrupted, the same command goes on where it was."""
    maps: Path | None = None
    """Folder for heat maps of the slides: OME-TIFF, PNG, and GeoJSON for QuPath."""
    abstain: float = 0.0
    """Give no class below this probability; what that leaves, and how often it is right on held-out
    training patches, is printed."""
    task: str | None = None
    """What is predicted; by default the run's own task."""
    store: Path | None = None
    """Labelled patches to fit the probe on, where none lies with the encoder: the run's store, if
    it has moved, or another one."""
    reading: Inputs = field(default_factory=Inputs)

    def __post_init__(self) -> None:
        if not 0 <= self.abstain <= 1:
            raise ConfigError(f"--abstain is {self.abstain:g}; give a probability, from 0 to 1.")


@dataclass(frozen=True, kw_only=True)
class AppConfig(Loading):
    """Which encoder a page is served for, and where."""

    encoder: Positional[str]
    """Folder of a finished run, or folder that `mfl export` wrote; with --store also a
    specification with weights, such as resnet50:pretrained=true."""
    task: str | None = None
    """What is predicted; by default the run's own task."""
    store: Path | None = None
    """Labelled patches to fit the probe on and to find the nearest among, where they are not those
    of the run at their place."""
    port: int = 8765
    """Port of 127.0.0.1, which no other computer reaches; 0 takes a free one."""

    def __post_init__(self) -> None:
        between(0, 65535, self, "port")


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Which encoder is written for other tools, and how."""

    encoder: Positional[str]
    """Folder of a finished run."""
    out: Positional[Path]
    """Folder for model.safetensors and config.json, which timm.create_model("local-dir:FOLDER",
    pretrained=True) loads, encoder.json, and the model card, README.md."""
    branch: Role = "primary"
    """Encoder of the modality that is present at inference, or of the privileged one."""
    onnx: bool = False
    """Also write encoder.onnx (extra onnx)."""
    torch_export: bool = False
    """Also write encoder.pt2, which torch.export.load reads."""
    preprocessing: bool = False
    """Make the modality part of those graphs: they take patches as they are, uint8."""
    opset: int = 18
    """ONNX's set of operators."""
    validations: tuple[Path, ...] = ()
    """Folders that `mfl validate` wrote outside the study and the run, for the model card."""
    trust: bool = False
    """Import classes from outside the package that the run names; only for runs of your own."""

    def __post_init__(self) -> None:
        between(1, 1000, self, "opset")


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """How encoders are analysed: layer by layer with CKA, patch by patch with GradCAM."""

    layers: str = "auto"
    """Layers that CKA compares: convolutions, blocks, names as a+b+c, or auto: convolutions, of a
    transformer blocks."""
    estimator: Literal["unbiased", "biased"] = "unbiased"
    """CKA's: unbiased, added up over batches (Nguyen et al. 2021); biased, of all patches as one
    batch (Kornblith et al. 2019)."""
    cka_patches: int = 1024
    """Test patches that CKA uses at most, drawn at random; 0 is all."""
    cka_batch: int = 128
    """Patches a batch of CKA's; unbiased CKA does not depend on it but for its error."""
    show: tuple[str, ...] = ()
    """Ids of the patches in the GradCAM figures; by default, of training and test patches each, the
    one nearest to its class's mean representation."""
    seed: int = 0
    """Of the patches drawn."""
    device: Device = "auto"
    """Where encoders run."""

    def __post_init__(self) -> None:
        at_least(0, self, "cka_patches")
        at_least(4 if self.estimator == "unbiased" else 2, self, "cka_batch")
        between(0, 2**31 - 1, self, "seed")


@dataclass(frozen=True, kw_only=True)
class ExplainConfig:
    """Which two runs are compared with each other."""

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
    trust: bool = False
    """Import classes from outside the package that the runs name; only for runs of your own."""
    analysis: Analysis = field(default_factory=Analysis)
    probe: Probe = field(default_factory=Probe)

    def __post_init__(self) -> None:
        at_least(16, self, "thumbnail")


@dataclass(frozen=True, kw_only=True)
class RepresentConfig:
    """Whose representations are compared, over all runs of its arms."""

    study: Positional[Path]
    """Folder that `mfl compare` wrote."""
    primary: str | None = None
    """Modality whose encoders are compared; by default the study's first."""
    arms: tuple[str, ...] = ()
    """Arms, such as asymmetric-independent, supervised or random (untrained encoders); by default
    all that were compared, and random."""
    out: Path | None = None
    """Folder for figures and numbers; by default `representations` in the study's folder."""
    store: Path | None = None
    """Where the store is, if it has moved."""
    trust: bool = False
    """Import classes from outside the package that the study names; only for your own."""
    analysis: Analysis = field(default_factory=Analysis)
    probe: Probe = field(default_factory=Probe)


@dataclass(frozen=True, kw_only=True)
class ValidateConfig:
    """Whose encoders are asked about which other patches."""

    study: Positional[Path]
    """Folder that `mfl compare` wrote, or of one finished run."""
    cohort: Positional[Path]
    """Folder that `mfl ingest --split test` wrote of other patches; its test patches are asked."""
    classes: tuple[str, ...] = ()
    """Classes that were learnt, under the cohort's names: TUM=tumour, or NORM+ADI=other, whose
    probabilities add up. By default the names are the same."""
    out: Path | None = None
    """Folder for tables and figures; by default `validation-COHORT` in the study's folder."""
    store: Path | None = None
    """Where the store is that the encoders were trained on, if it has moved."""
    trust: bool = False
    """Import classes from outside the package that the study names; only for your own."""
    probe: Probe = field(default_factory=Probe)
    """Of a single run; a study has its own."""
    device: Device = "auto"
    """Where features are computed."""


@dataclass(frozen=True, kw_only=True)
class HeadroomConfig:
    """Which views are compared, by which features."""

    store: Positional[Path]
    """Folder that `mfl ingest` wrote."""
    out: Path = Path("headroom")
    """Folder for the table, its numbers and the features."""
    primary: str = "downsample:7"
    """Modality that is present at inference."""
    privileged: str = "full"
    """Modality that is present in training only."""
    task: str = "tissue"
    """What is asked of the features."""
    encoder: str | None = None
    """Reference encoder of both views, with weights: NAME:weights=FILE or NAME:pretrained=true. By
    default features are hand-made: colour histograms, and the detail of each octave."""
    size: int | None = None
    """Side in px of the images that it takes; by default that of its own training."""
    components: int = 64
    """Principal components of the dense features that are predicted from the sparse ones."""
    device: Device = "auto"
    """Where the reference encoder runs."""

    def __post_init__(self) -> None:
        at_least(1, self, "size", "components")


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Where the demonstration writes."""

    out: Path = Path("runs/demo")
    """Folder for its stores, runs, tables and figures."""
    seeds: int = 3
    """Runs of each arm, at least 2: one seed gives no verdict."""
    jobs: int = 0
    """Runs side by side; 0 is one a CPU core."""

    def __post_init__(self) -> None:
        between(2, 1000, self, "seeds")
        at_least(0, self, "jobs")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What each job asks of a cluster."""

    cluster: Literal["none", "slurm", "local"] = "none"
    """Where runs are trained: none is here. slurm submits a job a run through submitit (extra
    `cluster`) and returns: `mfl status OUT` says how far they are, and the same command, once they
    are done, makes the tables. local is submitit's own executor, to try that out."""
    partition: str | None = None
    """Partition of the cluster; by default its own default."""
    account: str | None = None
    """Account that is charged, where the cluster wants one."""
    qos: str | None = None
    """Quality of service, where the cluster wants one."""
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
        at_least(10, self, "minutes")
        at_least(0, self, "gpus")
        at_least(1, self, "cpus", "memory")
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
    plan: bool = False
    """Say which runs would be trained, which are done, and how much disk the rest takes; train
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
    """Side in px of the images that the encoder takes."""
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
    cluster: Cluster = field(default_factory=Cluster)

    def __post_init__(self) -> None:
        at_least(1, self, "sides", "size", "width", "epochs", "supervised_epochs", "batch")
        at_least(0, self, "probe_every", "workers", "jobs")
        between(1, 1000, self, "seeds")
        above_zero(self, "lr")


@dataclass(frozen=True, kw_only=True)
class StatusConfig:
    """Whose runs are looked at."""

    out: Positional[Path] = Path("runs/reproduce")
    """Folder of mfl reproduce or mfl compare."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Whose report is written."""

    out: Positional[Path] = Path("runs/reproduce")
    """Folder of mfl reproduce or mfl compare."""
