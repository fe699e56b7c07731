"""Options of the commands that write and show stores."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional

from morefromless.config.bounds import (
    check_above_zero,
    check_at_least,
    check_between,
    check_choice,
    check_share,
)
from morefromless.config.help import File
from morefromless.config.parts import Device
from morefromless.config.storing import Storing
from morefromless.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class IngestConfig(Storing):
    """Which source to decode, how to split it, and where to write the store."""

    source: Positional[str]
    """A folder of class folders or of files named as in NCT-CRC-HE, or an archive of such a folder
    (.zip, .tar, .tar.gz; no need to unpack it); a MedMNIST-style .npz file; a table of your own
    pairs (.csv or .parquet; docs/how-to/bring-your-own-pairs.md); consep:FOLDER, pannuke:FOLDER,
    conic:FOLDER, spatial:FOLDER,test=SECTION (H&E and gene expression), or
    synthetic[:patches=900,patients=30,size=64,seed=0,control=none|positive|negative|both]."""
    store: Positional[Path]
    """Folder to write. It appears only after the whole source is decoded."""
    size: int | None = None
    """Side in px that patches must have; others are rejected. By default the most frequent size."""
    resize: int | None = None
    """Resize patches to this side in px (antialiased); without --size, patches of all sizes are
    accepted. By default patches are stored unchanged."""
    um_per_px: float | None = None
    """Pixel size in µm, if the source does not state it."""
    nuclei: Path | None = None
    """Folder of nuclei segmentations, one file per image, named like the image: HoVer-Net .json or
    .mat, CoNSeP or Lizard .mat, HoVer-NeXt, CellViT, TIAToolbox .dat or .db, QuPath .geojson, label
    images, points, .npy. `mfl segment` writes such a folder."""
    nuclei_format: str = "auto"
    """Format of those files: hovernet-json, mat, hover-next, cellvit, tiatoolbox-dat,
    tiatoolbox-db, label-images, points, npy, geojson, geojson:convention=centres ...; auto detects
    the format of each file."""
    scheme: str = "pannuke"
    """Types of those nuclei: pannuke, consep, consep-seven, conic, untyped, or a YAML file with
    name, types (background first) and aliases (raw type in your files: type)."""
    cut: int | None = None
    """Cut larger tiles into adjacent patches of this side in px. A nucleus on a border is drawn in
    each patch, and counted in the patch that contains most of it."""
    missing: Literal["drop", "keep"] = "drop"
    """What to do with patches without a view that other patches have: drop rejects them; keep
    accepts them and records which views are absent."""
    unlabelled: bool = False
    """The folder's paths contain no tissue classes: for self-supervised training (mfl train), or if
    the nuclei define the task."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, self, "size", "resize", "cut")
        check_above_zero(self, "um_per_px")
        check_choice(self, "missing")


@dataclass(frozen=True, kw_only=True)
class HoldOutConfig:
    """Which store to split, and how."""

    store: Positional[Path]
    """Folder that `mfl ingest` wrote."""
    out: Positional[Path]
    """Folder for a store of the training patches only; part of them form its test split."""
    share: float = 0.2
    """Share of the training patches to hold out."""
    clusters: int = 50
    """Number of clusters of similar colours; if the groups are unknown, whole clusters are held
    out."""
    seed: int = 0
    """Seed of the clustering and of the draw."""

    def __post_init__(self) -> None:
        check_between(0, 2**31 - 1, self, "seed")
        check_at_least(2, self, "clusters")
        check_share(self, "share")
        if self.share == 1:
            raise ConfigError(
                "--share is 1; give a share below 1, so that training patches remain."
            )


@dataclass(frozen=True, kw_only=True)
class FetchConfig:
    """Which public data set to download, and from where."""

    name: Positional[str] = ""
    """Name of the data set, such as crc-val-he-7k; without it, all are listed."""
    folder: Positional[str] = ""
    """Folder for its files; without it, the datasheet is shown. An interrupted download resumes
    there."""
    local: Annotated[Path, "FILE|FOLDER"] | None = None
    """File or folder that was downloaded by other means. It is verified and copied, without network
    access."""
    mirror: str | None = None
    """Address of a mirror that serves the files under the same names."""
    accept_licence: bool = False
    """Accept a licence that forbids commercial use."""


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """What to show on a contact sheet."""

    store: Positional[Path]
    """Folder that `mfl ingest` wrote."""
    primary: tuple[str, ...] = ("downsample:7",)
    """Modalities that are present at inference: downsample:7 is the patch at 7 x 7 px, full the
    whole patch; mfl train --help lists others."""
    privileged: str = "full"
    """Modality that is present in training only."""
    out: File = Path("views.png")
    """File to write: .png or .pdf."""
    views: str = "table-s1"
    """Augmentations: table-s1, authors, stain or plain."""
    task: str = "tissue"
    """Task whose classes are the titles of the rows: tissue or cell."""
    size: int = 224
    """Side length of the encoder's input images in px."""
    draws: int = 3
    """Number of augmented views per modality."""
    patches: int = 9
    """Number of patches, an equal number of each class as far as possible."""
    seed: int = 0
    """Seed for the selection of patches and for the views."""

    def __post_init__(self) -> None:
        if self.out.suffix not in (".png", ".pdf"):
            raise ConfigError(
                f"--out {self.out} ends in neither .png nor .pdf; give a file name that does."
            )
        check_at_least(1, self, "size", "draws", "patches")
        check_between(0, 2**31 - 1, self, "seed")


@dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """Which patches to segment, with which weights, at which magnification."""

    source: Positional[str]
    """A folder of patches, or any other source of `mfl ingest`."""
    out: Positional[Path]
    """Folder for one GeoJSON file per patch. If interrupted, run the same command again to
    resume."""
    weights: File | None = None
    """File with HoVer-Net weights (hovernet_fast-pannuke, from TIAToolbox's collection), for use
    without network access. Without this option, TIAToolbox downloads them once. Their licence, CC
    BY-NC-SA 4.0, forbids commercial use."""
    um_per_px: float | None = None
    """Pixel size of the patches in µm, if the source does not state it."""
    at: float = 0.25
    """Pixel size of the network's input in µm; the default is the one it was trained at.
    Patches are resampled to it, and nuclei are mapped back to the patches' own pixels."""
    batch: int = 0
    """Windows of 256 px per forward pass; a patch of 224 px at 0.5 µm/px has nine. 0 is 16 on a
    GPU, and 1 on a CPU, where larger batches are not faster."""
    device: Device = "auto"
    """Device that runs the network."""

    def __post_init__(self) -> None:
        check_at_least(0, self, "batch")
        check_above_zero(self, "um_per_px", "at")


@dataclass(frozen=True, kw_only=True)
class ExportNucleiConfig:
    """Which nuclei to write, and where."""

    store: Positional[Path]
    """Folder that `mfl ingest` wrote, with nuclei."""
    out: Positional[Path]
    """Folder for one GeoJSON file per image, which QuPath opens and `mfl ingest --nuclei` reads.
    The patches of an image that was cut are merged again."""


@dataclass(frozen=True, kw_only=True)
class PublishConfig:
    """Which store to publish, and where."""

    store: Positional[Path]
    """Folder that `mfl ingest` wrote."""
    address: Positional[str]
    """s3://BUCKET/NAME, or a folder, for example on a mounted file system. S3-compatible storage is
    configured as for AWS tools: AWS_ENDPOINT_URL, AWS_PROFILE, AWS_ACCESS_KEY_ID."""


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """Which published store to stream, and how much of it to keep on disk."""

    address: Positional[str]
    """Address to which `mfl publish` wrote the store."""
    store: Positional[Path]
    """Folder to write, which every other command accepts as a store."""
    cache_gb: float = 20.0
    """Size limit of the folder in gigabytes; the least recently read patches are removed first. If
    all patches fit, each is downloaded once."""

    def __post_init__(self) -> None:
        check_above_zero(self, "cache_gb")
