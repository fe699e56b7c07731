"""What the commands that make and look at stores can be asked."""

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
    """What is decoded, where to, and how it is split."""

    source: Positional[str]
    """A folder of class folders or of NCT-CRC-HE-like names, an archive of one (.zip, .tar,
    .tar.gz; it need not be unpacked), a MedMNIST-style .npz file, a table of
    your own pairs (.csv or .parquet; docs/how-to/bring-your-own-pairs.md), consep:FOLDER,
    pannuke:FOLDER, conic:FOLDER, spatial:FOLDER,test=SECTION (H&E and gene expression), or
    synthetic[:patches=900,patients=30,size=64,seed=0,control=none|positive|negative|both]."""
    store: Positional[Path]
    """Folder to write; it appears whole, when all is decoded, or not at all."""
    size: int | None = None
    """Side in px that patches must have; others are rejected. By default the most frequent."""
    resize: int | None = None
    """Side in px to store patches at (antialiased); without --size, patches of every size are
    taken. By default they are stored as they are."""
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
    """Cut larger tiles into adjacent patches of this side in px. A nucleus on a border is drawn in
    each patch, and counted in the one that holds most of it."""
    missing: Literal["drop", "keep"] = "drop"
    """Patches that lack a view which others have: drop rejects them, keep takes them and records
    what is absent."""
    unlabelled: bool = False
    """The folder's paths name no tissue classes: for self-supervised training (mfl train), or where
    nuclei pose the task."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, self, "size", "resize", "cut")
        check_above_zero(self, "um_per_px")
        check_choice(self, "missing")


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
    """Clusters of similar colours; if groups are not known, whole clusters are held out."""
    seed: int = 0
    """Seed of the clusters and of the draw."""

    def __post_init__(self) -> None:
        check_between(0, 2**31 - 1, self, "seed")
        check_at_least(2, self, "clusters")
        check_share(self, "share")
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
    local: Annotated[Path, "FILE|FOLDER"] | None = None
    """File or folder that was downloaded elsewhere: it is verified and copied, without a
    network."""
    mirror: str | None = None
    """Address of a mirror that has the files under their names."""
    accept_licence: bool = False
    """Accept a licence that forbids commercial use."""


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """What a contact sheet shows."""

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
    """Seed of the choice of patches and of the views."""

    def __post_init__(self) -> None:
        if self.out.suffix not in (".png", ".pdf"):
            raise ConfigError(f"--out {self.out} ends in neither .png nor .pdf; name such a file.")
        check_at_least(1, self, "size", "draws", "patches")
        check_between(0, 2**31 - 1, self, "seed")


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
    """Magnification of the network's input in µm per pixel, by default that of its training.
    Patches are resampled to it, and nuclei are mapped back to the patches' own pixels."""
    batch: int = 0
    """Windows of 256 px per forward pass; a patch of 224 px at 0.5 µm/px has nine. 0 is 16 on a
    GPU and 1 on a CPU, where more is not faster."""
    device: Device = "auto"
    """Where to run the network."""

    def __post_init__(self) -> None:
        check_at_least(0, self, "batch")
        check_above_zero(self, "um_per_px", "at")


@dataclass(frozen=True, kw_only=True)
class ExportNucleiConfig:
    """Whose nuclei are written, and where."""

    store: Positional[Path]
    """Folder that `mfl ingest` wrote, with nuclei."""
    out: Positional[Path]
    """Folder for a GeoJSON file an image, which QuPath opens and `mfl ingest --nuclei` takes. What
    was cut is put together again."""


@dataclass(frozen=True, kw_only=True)
class PublishConfig:
    """Which store is published, and where."""

    store: Positional[Path]
    """Folder that `mfl ingest` wrote."""
    address: Positional[str]
    """s3://BUCKET/NAME, or a folder such as one of a mounted file system. S3-compatible
    storage is found as AWS' own tools find it: AWS_ENDPOINT_URL, AWS_PROFILE, AWS_ACCESS_KEY_ID."""


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """Which published store is streamed, and how much of it is on this disk at a time."""

    address: Positional[str]
    """Where `mfl publish` wrote it."""
    store: Positional[Path]
    """Folder to write, which every other command takes as a store."""
    cache_gb: float = 20.0
    """Size limit of the folder in gigabytes; the least recently read patches are removed first. If
    all fit, each is fetched once."""

    def __post_init__(self) -> None:
        check_above_zero(self, "cache_gb")
