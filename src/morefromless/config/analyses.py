"""Options of the commands that analyse trained encoders."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from morefromless.config.bounds import check_at_least, check_between
from morefromless.config.parts import Device, Probe, Role


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Which run to evaluate, and how."""

    run: Positional[Path]
    """Folder of a finished run."""
    task: str | None = None
    """Task to evaluate; by default the run's own. A supervised run predicts its own task with its
    head. For any other task it uses a probe, as every run does."""
    store: Path | None = None
    """Folder of the run's store, if it has moved."""
    questions: tuple[str, ...] = ()
    """Further evaluations: few-shot (accuracy with 1, 5, 10 and 20 labels per class), retrieval
    (find the privileged view of a primary one), expression (Pearson's correlation of genes), or
    your own class as package.module:Class."""
    probe: Probe = field(default_factory=Probe)
    trust: bool = False
    """Allow classes from outside the package that the run names; only for runs you trust."""
    device: Device = "auto"
    """Device that computes the features."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """How to analyse encoders: layer by layer with CKA, patch by patch with GradCAM."""

    layers: str = "auto"
    """Layers that CKA compares: convolutions, blocks, names as a+b+c, or auto. auto selects the
    blocks of a transformer, and the convolutions of any other network."""
    estimator: Literal["unbiased", "biased"] = "unbiased"
    """Estimator of CKA: unbiased sums over batches (Nguyen et al. 2021); biased uses all patches as
    one batch (Kornblith et al. 2019)."""
    cka_patches: int = 1024
    """Maximum number of test patches for CKA, drawn at random; 0 uses all."""
    cka_batch: int = 128
    """Patches per batch of CKA. For unbiased CKA it affects only the sampling error."""
    show: tuple[str, ...] = ()
    """Ids of the patches in the GradCAM figures. By default, for each class, the training patch and
    the test patch that are nearest to the class's mean representation."""
    seed: int = 0
    """Seed for drawing the patches of CKA."""
    device: Device = "auto"
    """Device that runs the encoders."""

    def __post_init__(self) -> None:
        check_at_least(0, self, "cka_patches")
        check_at_least(4 if self.estimator == "unbiased" else 2, self, "cka_batch")
        check_between(0, 2**31 - 1, self, "seed")


@dataclass(frozen=True, kw_only=True)
class ExplainConfig:
    """Which two runs to compare with each other."""

    run_a: Positional[Path]
    """Folder of a finished run."""
    run_b: Positional[Path]
    """Folder of another finished run, trained on the same store."""
    out: Path = Path("explained")
    """Folder for the page (index.html), its thumbnails, and the figures with their numbers."""
    branch: Role = "primary"
    """Branch whose encoders are compared: primary or privileged."""
    task: str | None = None
    """Task to evaluate; by default the task of the first run."""
    store: Path | None = None
    """Folder of the store, if it has moved."""
    gallery: Literal["disagree", "all"] = "disagree"
    """Test patches that are shown individually: those on which the two runs disagree, or all."""
    map: Literal["pca", "umap"] = "pca"
    """Projection of the features to 2D; umap needs the extra `maps`."""
    cam_layer: str | None = None
    """Layer of the GradCAM next to each patch. By default, the first convolution of the last stage
    whose feature maps are 4 x 4 or larger. (The GradCAM figure shows the first convolution of every
    stage.)"""
    thumbnail: int = 96
    """Side of the thumbnails in px."""
    trust: bool = False
    """Allow classes from outside the package that the runs name; only for runs you trust."""
    analysis: Analysis = field(default_factory=Analysis)
    probe: Probe = field(default_factory=Probe)

    def __post_init__(self) -> None:
        check_at_least(16, self, "thumbnail")


@dataclass(frozen=True, kw_only=True)
class RepresentConfig:
    """Which representations to compare, over all runs of the arms."""

    study: Positional[Path]
    """Folder that `mfl compare` wrote."""
    primary: str | None = None
    """Modality whose encoders are compared; by default the study's first."""
    arms: tuple[str, ...] = ()
    """Arms, such as asymmetric-independent, supervised or random (untrained encoders); by default
    all arms of the study, and random."""
    out: Path | None = None
    """Folder for the figures and their numbers; by default `representations` in the study's
    folder."""
    store: Path | None = None
    """Folder of the store, if it has moved."""
    trust: bool = False
    """Allow classes from outside the package that the study names; only for studies you trust."""
    analysis: Analysis = field(default_factory=Analysis)
    probe: Probe = field(default_factory=Probe)


@dataclass(frozen=True, kw_only=True)
class ValidateConfig:
    """Which encoders to evaluate on which other patches."""

    study: Positional[Path]
    """Folder that `mfl compare` wrote, or folder of one finished run."""
    cohort: Positional[Path]
    """Store of the other cohort, written by `mfl ingest --split test`; its test patches are
    used."""
    classes: tuple[str, ...] = ()
    """Rename learned classes to the cohort's names: TUM=tumour, or NORM+ADI=other, which adds their
    probabilities. By default the names are the same."""
    out: Path | None = None
    """Folder for the tables and figures; by default `validation-COHORT` in the study's folder."""
    store: Path | None = None
    """Folder of the store that the encoders were trained on, if it has moved."""
    trust: bool = False
    """Allow classes from outside the package that the study names; only for studies you trust."""
    probe: Probe = field(default_factory=Probe)
    """Only for a single run; a study has its own probe."""
    device: Device = "auto"
    """Device that computes the features."""


@dataclass(frozen=True, kw_only=True)
class HeadroomConfig:
    """Which views to compare, and which features to use."""

    store: Positional[Path]
    """Folder that `mfl ingest` wrote."""
    out: Path = Path("headroom")
    """Folder for the table, its numbers and the features."""
    primary: str = "downsample:7"
    """Modality that is present at inference."""
    privileged: str = "full"
    """Modality that is present in training only."""
    task: str = "tissue"
    """Task to evaluate the features on."""
    encoder: str | None = None
    """Pretrained encoder for both views: NAME:weights=FILE or NAME:pretrained=true. By default
    the features are hand-crafted: colour histograms, and the amount of detail at each scale
    (octave)."""
    size: int | None = None
    """Input size of that encoder in px; by default the size that it was trained at."""
    components: int = 64
    """Maximum number of principal components of the dense features that are predicted from the
    sparse features."""
    device: Device = "auto"
    """Device that runs the pretrained encoder."""

    def __post_init__(self) -> None:
        check_at_least(1, self, "size", "components")
