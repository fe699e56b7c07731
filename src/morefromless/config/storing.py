"""How patches become a store, whatever they come from; and how slides become patches."""

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
    """How patches are labelled, grouped and split."""

    split: Literal["auto", "random", "test"] = "auto"
    """auto takes the source's own split where it has one; random draws one, by group where groups
    are known and by label; test puts every patch into test, for another cohort."""
    test_share: float = 0.2
    """Share of the patches (or groups) that a drawn split keeps for testing."""
    label: str | None = None
    """Regular expression with one capturing group that finds the tissue class in a patch's path
    below the source; patches in whose path it finds nothing are left out and counted."""
    group: str | None = None
    """Regular expression with one capturing group that finds the patient or slide in the path."""
    classes: tuple[str, ...] = ()
    """Classes merged or renamed, such as ADI+MUS=other TUM=tumour."""
    drop: tuple[str, ...] = ()
    """Classes whose patches are left out and counted, by their names in the source."""
    normalise_stain: bool = False
    """Normalise H&E to reference stains, estimated per patient or slide from up to 64 of its
    patches. (The modality macenko estimates them per patch.)"""
    strict: bool = False
    """Stop at the first patch that would be rejected."""
    seed: int = 0
    """Seed of a drawn split."""
    workers: int = 0
    """Threads that detect tissue and that decode; 0 is one per CPU core. Large sets are decoded by
    processes instead, one more than this number."""

    def __post_init__(self) -> None:
        check_between(0, 2**31 - 1, self, "seed")
        check_at_least(0, self, "workers")
        check_choice(self, "split")
        check_share(self, "test_share")
        if self.test_share == 1:
            raise ConfigError(
                "--test-share is 1; give a share below 1, which leaves some to train."
            )


@dataclass(frozen=True, kw_only=True)
class TileConfig(Storing):
    """Which slides are cut into tiles, at which magnification, and where to."""

    paths: Annotated[Positional[tuple[Path, ...]], "SLIDE... STORE"]
    """Slides (SVS, NDPI, MRXS, SCN, BIF, DICOM, OME-TIFF, TIFF) or folders of them, and last the
    folder of the store to write."""
    mpp: float = 0.5
    """Magnification of the tiles in µm per pixel; 0.5 is that of a 20x objective, 0.25 of 40x."""
    size: int = 224
    """Side of the tiles in px."""
    low_power: float | None = None
    """Read the same field also at this lower magnification, in µm per pixel, at fewer pixels, as
    the microscope gives it: array low-power, for --primary full:low-power --privileged full."""
    context: float | None = None
    """Read also a wider field around the same centre, at this lower magnification in µm per pixel
    and as many pixels: array context, for --primary full --privileged full:context."""
    um_per_px: float | None = None
    """Magnification in µm per pixel of slides that do not state their own."""
    tissue: float = 0.5
    """Share of a tile that must be tissue."""
    annotations: Path | None = None
    """Folder with one GeoJSON file per slide, named like the slide, as QuPath exports annotations.
    A tile's label is the class of the regions that cover at least half of it; tiles without a label
    are left out and counted."""
    unlabelled: bool = False
    """Keep tiles that no annotation covers, and slides without annotations: they are trained on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.paths, tuple) and len(self.paths) < 2:  # not yet given beside --config
            raise ConfigError("mfl tile needs a slide and a store: mfl tile SLIDE... STORE.")
        check_above_zero(self, "mpp", "low_power", "context", "um_per_px")
        check_at_least(8, self, "size")
        check_share(self, "tissue")
        if self.unlabelled and not self.annotations:
            raise ConfigError("--unlabelled is for slides with --annotations; leave it out.")
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
                    f"--low-power {self.low_power:g} makes {self.size} px of {self.mpp:g} µm "
                    f"{side:.4g} px, which is no whole number; give {suitable}, or another --size."
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
