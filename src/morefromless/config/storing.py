"""Options of labelling and splitting patches, and of tiling slides."""

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
from morefromless.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Storing:
    """How to label, group and split patches."""

    split: Literal["auto", "random", "test"] = "auto"
    """auto uses the source's own split if it has one, otherwise random. random draws a split by
    label, and by group if groups are known. test puts every patch into the test split, for an
    external cohort."""
    test_share: float = 0.2
    """Share of the patches (or groups) in the test split, if the split is random."""
    label: str | None = None
    """Regular expression with one capturing group that matches the tissue class in a patch's path
    below the source. Patches whose path does not match are excluded and counted."""
    group: str | None = None
    """Regular expression with one capturing group that matches the patient or slide in the path."""
    classes: tuple[str, ...] = ()
    """Classes to merge or rename, such as ADI+MUS=other TUM=tumour."""
    drop: tuple[str, ...] = ()
    """Classes to exclude, by their names in the source. Their patches are counted."""
    normalise_stain: bool = False
    """Normalise H&E to reference stains, estimated per patient or slide from up to 64 of its
    patches. (The modality macenko estimates them per patch.)"""
    strict: bool = False
    """Stop at the first invalid patch instead of rejecting it."""
    seed: int = 0
    """Seed of a random split."""
    workers: int = 0
    """Number of threads that detect tissue and decode patches; 0 is one per CPU core. Large data
    sets are decoded by processes instead, one more than this number."""

    def __post_init__(self) -> None:
        check_between(0, 2**31 - 1, self, "seed")
        check_at_least(0, self, "workers")
        check_choice(self, "split")
        check_share(self, "test_share")
        if self.test_share == 1:
            raise ConfigError(
                "--test-share is 1; give a share below 1, so that training patches remain."
            )


@dataclass(frozen=True, kw_only=True)
class TileConfig(Storing):
    """Which slides to cut into tiles, at which magnification, and the store to write."""

    paths: Annotated[Positional[tuple[Path, ...]], "SLIDE... STORE"]
    """Slides (SVS, NDPI, MRXS, SCN, BIF, DICOM, OME-TIFF, TIFF) or folders of slides, followed by
    the folder of the store to write."""
    mpp: float = 0.5
    """Pixel size of the tiles in µm; 0.5 is a 20x objective, 0.25 is 40x."""
    size: int = 224
    """Side of the tiles in px."""
    low_power: float | None = None
    """Also read the same field with this larger pixel size in µm and fewer pixels, as a microscope
    shows it at low power. It becomes the array low-power, for --primary full:low-power --privileged
    full."""
    context: float | None = None
    """Also read a wider field around the same centre, with this larger pixel size in µm and the
    same number of pixels. It becomes the array context, for --primary full --privileged
    full:context."""
    um_per_px: float | None = None
    """Pixel size in µm of slides that do not state their own."""
    tissue: float = 0.5
    """Minimum share of tissue in a tile."""
    annotations: Path | None = None
    """Folder with one GeoJSON file per slide, named like the slide, as QuPath exports annotations.
    A tile's label is the class of the regions that cover at least half of it. Tiles without a label
    are excluded and counted."""
    unlabelled: bool = False
    """Also keep tiles that no annotation covers, and slides without annotations, for training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.paths, tuple) and len(self.paths) < 2:  # else tyro's "missing"
            raise ConfigError("mfl tile needs a slide and a store: mfl tile SLIDE... STORE.")
        check_above_zero(self, "mpp", "low_power", "context", "um_per_px")
        check_at_least(8, self, "size")
        check_share(self, "tissue")
        if self.unlabelled and not self.annotations:
            raise ConfigError("--unlabelled is for slides with --annotations; remove it.")
        for name in ("low_power", "context"):
            mpp = getattr(self, name)
            if mpp is not None and mpp <= self.mpp:
                option = name.replace("_", "-")
                raise ConfigError(
                    f"--{option} is {mpp:g}; give more µm per pixel than --mpp ({self.mpp:g})."
                )
        if self.low_power is not None:
            side = self.size * self.mpp / self.low_power
            if abs(side - round(side)) > 1e-6 or side < 1:
                divisors = [n for n in range(2, self.size + 1) if self.size % n == 0]
                suitable = " or ".join(f"{self.mpp * n:g}" for n in divisors[:2])
                raise ConfigError(
                    f"--low-power {self.low_power:g} resizes {self.size} px of {self.mpp:g} µm to "
                    f"{side:.4g} px, which is not a whole number; give {suitable}, or another "
                    "--size."
                )

    @property
    def slides(self) -> list[Path]:
        return list(self.paths[:-1])

    @property
    def store(self) -> Path:
        return self.paths[-1]

    @property
    def low_power_size(self) -> int:
        """Side in px of the same field at the lower magnification."""
        return round(self.size * self.mpp / self.low_power) if self.low_power else self.size
