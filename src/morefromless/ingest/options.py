"""What a person decides about an ingest."""

from dataclasses import dataclass
from typing import Literal

from morefromless.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """Splits, sizes and strictness. Raises `ConfigError` for values that cannot work."""

    split: Literal["auto", "random"] = "auto"
    """`auto` takes the source's train and test where it has both; `random` draws them anew."""
    test_share: float = 0.2
    """Share of the patches that a drawn split puts into test, in (0, 1)."""
    seed: int = 0
    """Seed of a drawn split."""
    size: int | None = None
    """Side in pixels that patches must have; None: the commonest of a sample."""
    resize: int | None = None
    """Side in pixels to resize every square patch to, whatever its own; None: as they are."""
    um_per_px: float | None = None
    """Micrometres per pixel before any resizing; None: as the source says."""
    missing: Literal["drop", "keep"] = "drop"
    """Whether patches that lack an optional array are set aside, or kept without it."""
    strict: bool = False
    """Whether the first patch that would be set aside stops the ingest."""

    def __post_init__(self) -> None:
        if self.split not in ("auto", "random"):
            raise ConfigError(f"--split {self.split} is not known; give auto or random.")
        if self.missing not in ("drop", "keep"):
            raise ConfigError(f"--missing {self.missing} is not known; give drop or keep.")
        if not 0 < self.test_share < 1:
            raise ConfigError(f"--test-share {self.test_share} should lie between 0 and 1.")
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed} should be 0 or more.")
        for name in ("size", "resize", "um_per_px"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"--{name.replace('_', '-')} {value} should be more than 0.")
