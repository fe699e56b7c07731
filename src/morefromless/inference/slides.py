"""The tiles of slides, as an encoder in use is given them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd

from morefromless.data.slide_files import slide_files, slide_parts
from morefromless.data.slide_readers import open_slide
from morefromless.data.slides import UnusableSlide, rejection
from morefromless.data.tissue import find_tissue, tissue_tiles
from morefromless.errors import DataError, UnreadablePatch
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.inference.patches import TOLERANCE, Patches, patch_table


class SlidePatches(Patches):
    """The tiles of a slide that are tissue, side by side, at the encoder's magnification."""

    def __init__(self, path: Path, side: int, at: float, um_per_px: float | None = None) -> None:
        self.name, self.um_per_px, self.side = path.name, at, side
        self.slide = open_slide(path, um_per_px)
        self.slide.refuse_enlarging(at, "--at", TOLERANCE)
        self.tissue = find_tissue(self.slide)
        self.corners = tissue_tiles(self.slide, self.tissue, side, at)
        ids = [f"{path.name}_x{x}_y{y}" for x, y in self.corners.tolist()]
        if not ids:
            raise UnusableSlide(
                "no tissue",
                f"{path} has no tile of {side} px at {at:g} µm per pixel that is tissue; look at "
                "the slide, and check its magnification.",
            )
        x, y = self.corners.T
        self.table = patch_table(pd.DataFrame({"id": ids, "input": path.name, "x": x, "y": y}))

    @property
    def extent(self) -> float:
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
        except UnreadablePatch as error:  # one reason a slide: it may lack thousands of tiles
            raise UnreadablePatch(
                f"damaged: these tiles of {self.name} cannot be read; fetch it again"
            ) from error


class RejectedSlide(Patches):
    """A slide of a folder that cannot be used, as one patch that cannot be read."""

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
    """The slides of a folder, those that cannot be used as one unreadable patch each. Raises
    `DataError` where none can be."""
    slides: list[Patches] = []
    errors: list[DataError] = []
    for path in slide_files([folder]):
        try:
            slides.append(open_tiles(path, frozen, um_per_px, expected))
        except DataError as error:
            errors.append(error)
            slides.append(RejectedSlide(path.name, frozen, expected, rejection(error)))
    if len(errors) == len(slides):
        raise errors[0]
    return slides


def open_tiles(
    path: Path, frozen: FrozenEncoder, um_per_px: float | None, expected: float | None
) -> SlidePatches:
    """The tiles of a slide. Raises `DataError` where it cannot be used, or where the magnification
    that the encoder is to be given is not known."""
    if expected is None:
        raise DataError(
            f"{path} is a slide, and at which magnification this encoder was trained is not "
            "known; give it with --at, such as --at 0.5."
        )
    return SlidePatches(path, frozen.side or frozen.size, expected, um_per_px)
