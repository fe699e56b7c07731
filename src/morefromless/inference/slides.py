"""Read tiles of slides for inference."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd

from morefromless.data.slide_files import slide_files, slide_parts
from morefromless.data.slide_readers import open_slide
from morefromless.data.slides import UnusableSlide, rejection_reason
from morefromless.data.tissue import find_tissue, tissue_tiles
from morefromless.errors import DataError, UnreadablePatch
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.inference.patches import TOLERANCE, Patches, patch_table


class SlidePatches(Patches):
    """The tissue tiles of a slide, on a grid without gaps, at the encoder's magnification."""

    def __init__(self, path: Path, side: int, at: float, um_per_px: float | None = None) -> None:
        self.name, self.um_per_px, self.side = path.name, at, side
        self.slide = open_slide(path, um_per_px)
        self.slide.check_resolution(at, "--at", TOLERANCE)
        self.tissue = find_tissue(self.slide)
        self.corners = tissue_tiles(self.slide, self.tissue, side, at)
        ids = [f"{path.name}_x{x}_y{y}" for x, y in self.corners.tolist()]
        if not ids:
            raise UnusableSlide(
                "no tissue",
                f"{path} has no tissue tile of {side} px at {at:g} µm per pixel; look at the "
                "slide, and check its magnification.",
            )
        x, y = self.corners.T
        self.table = patch_table(pd.DataFrame({"id": ids, "input": path.name, "x": x, "y": y}))

    @property
    def side_level0(self) -> float:
        """Side of a tile in px of the slide's finest level."""
        assert self.side is not None
        assert self.um_per_px is not None
        return self.side * self.slide.scale(self.um_per_px)

    def files(self) -> Sequence[Path]:
        return slide_parts(self.slide.path)

    def read(self, row: int) -> npt.NDArray[Any]:
        assert self.side is not None
        assert self.um_per_px is not None
        x, y = self.corners[row].tolist()
        try:
            return self.slide.read(x, y, self.side, self.side, self.um_per_px)
        except UnreadablePatch as error:
            # One message per slide, because thousands of its tiles may be unreadable.
            raise UnreadablePatch(
                f"damaged: these tiles of {self.name} cannot be read; download it again"
            ) from error


class RejectedSlide(Patches):
    """An unusable slide of a folder, represented as one unreadable patch."""

    def __init__(self, name: str, frozen: FrozenEncoder, at: float | None, reason: str) -> None:
        self.name, self.um_per_px, self.side = name, at, frozen.side or frozen.size
        self.table = patch_table(pd.DataFrame({"id": [name], "input": [name]}))
        self._reason = reason

    def read(self, row: int) -> npt.NDArray[Any]:
        del row
        raise UnreadablePatch(self._reason)


def open_slides(
    folder: Path, frozen: FrozenEncoder, um_per_px: float | None, expected: float | None
) -> list[Patches]:
    """Open the slides of a folder. Each unusable slide becomes one unreadable patch. Raises
    `DataError` if no slide can be used."""
    slides: list[Patches] = []
    errors: list[DataError] = []
    for path in slide_files([folder]):
        try:
            slides.append(open_tiles(path, frozen, um_per_px, expected))
        except DataError as error:
            errors.append(error)
            slides.append(RejectedSlide(path.name, frozen, expected, rejection_reason(error)))
    if len(errors) == len(slides):
        raise errors[0]
    return slides


def open_tiles(
    path: Path, frozen: FrozenEncoder, um_per_px: float | None, expected: float | None
) -> SlidePatches:
    """Open the tiles of a slide. Raises `DataError` if the slide cannot be used, or if the
    encoder's magnification is unknown."""
    if expected is None:
        raise DataError(
            f"{path} is a slide, but the magnification of this encoder's training is unknown; "
            "give it with --at, such as --at 0.5."
        )
    return SlidePatches(path, frozen.side or frozen.size, expected, um_per_px)
