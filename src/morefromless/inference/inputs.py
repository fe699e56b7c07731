"""What an encoder is given in use: patches of folders, stores, tables and slides, one by one."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless.data.images import FURTHER, image_shape, read_pages
from morefromless.data.images import SUFFIXES as IMAGES
from morefromless.data.sharded import reading_order
from morefromless.data.slide_files import SLIDES_ONLY, slide_files
from morefromless.data.slide_readers import open_slide
from morefromless.data.slides import UnusableSlide, rejection
from morefromless.data.store import Store
from morefromless.data.tissue import find_tissue, tissue_tiles
from morefromless.errors import ConfigError, DataError, UnreadablePatch
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.ingest.opening import open_images
from morefromless.modalities import Modality
from morefromless.sources import Source

COLUMNS = ("id", "input", "x", "y", "label", "group", "split")
"""Of a table of patches; `x` and `y` are the top left corner in px of a slide's finest level, and
empty elsewhere, as is what is not known."""

PATCH = 1024
"""Side in px up to which a .tif file is a patch; a larger one is read as a slide."""

TOLERANCE = 0.1
"""Relative difference of magnification from which an encoder is not given a patch."""


class Patches(ABC):
    """Patches of one input. Reading is safe from several threads."""

    name: str
    table: pd.DataFrame
    """A row a patch: `COLUMNS`."""
    um_per_px: float | None
    """Micrometres per pixel; None where not known."""
    side: int | None
    """Height and width in px, of the first patch where they differ; None where not known."""
    place: str = ""
    """Absolute path of the input, which tells inputs of one name apart."""

    def __len__(self) -> int:
        return len(self.table)

    @abstractmethod
    def read(self, row: int) -> npt.NDArray[Any]:
        """Patch (H, H, 3) uint8, or vector (length,) float32. Raises `UnreadablePatch`."""


class StorePatches(Patches):
    """All patches of a store, whatever their split."""

    def __init__(self, path: Path, modality: Modality) -> None:
        store = Store.open(path)
        self._array, self._present = store.array(modality.array), store.has(modality.array)
        self.name = path.name
        self.um_per_px = None if modality.vector else store.scale(modality.array)
        self.side = None if modality.vector else int(self._array.shape[1])
        self._rows = reading_order(self._array, np.arange(len(store.table)))
        self.table = _table(store.table.iloc[self._rows].assign(input=self.name))
        self._what = modality.array

    def read(self, row: int) -> npt.NDArray[Any]:
        if not self._present[self._rows[row]]:
            raise UnreadablePatch(f"no {self._what}: this patch lacks it")
        return np.asarray(self._array[self._rows[row]])


class SourcePatches(Patches):
    """Patches of a folder, a table or any other source, as `mfl ingest` would read them."""

    def __init__(self, name: str, source: Source, modality: Modality) -> None:
        self.name, self._source, self._modality = name, source, modality
        self._items = source.items()
        rows = [
            (i.id, name, *(i.place or (None, None)), i.label, i.group, i.split) for i in self._items
        ]
        self.table = _table(pd.DataFrame(rows, columns=list(COLUMNS)))
        self.um_per_px = source.datasheet().um_per_px
        self.side = None
        for item in self._items:
            try:
                self.side = source.shape(item)[0]
                break
            except UnreadablePatch:
                continue

    def read(self, row: int) -> npt.NDArray[Any]:
        item = self._items[row]
        arrays = self._source.read(item)
        _refuse_further(self._source.omitted(item))
        name = self._modality.array
        images = [array for array in arrays.values() if array.ndim == 3]
        if name not in arrays and len(images) == 1 and _is_picture(self._modality):
            return _square(images[0])  # whatever the source calls its only image
        if name not in arrays:
            raise UnreadablePatch(f"no {name}: this patch lacks it")
        return _square(arrays[name])


class ImagePatches(Patches):
    """One image file as one patch."""

    def __init__(self, path: Path) -> None:
        self.name, self.um_per_px, self._path = path.name, None, path
        self.side = image_shape(path)[0]
        self.table = _table(pd.DataFrame({"id": [path.name], "input": [path.name]}))

    def read(self, row: int) -> npt.NDArray[Any]:
        del row
        return read_patch(self._path)


def read_patch(image: Path | bytes) -> npt.NDArray[np.uint8]:
    """The patch (H, H, 3) in an image file. Raises `UnreadablePatch`, also for several pages and
    where it is not square."""
    pixels, further = read_pages(image)
    _refuse_further(further)
    return _square(pixels)


class SlidePatches(Patches):
    """The tiles of a slide that are tissue, side by side, at the encoder's magnification."""

    def __init__(self, path: Path, side: int, at: float, um_per_px: float | None = None) -> None:
        self.name, self.um_per_px, self.side = path.name, at, side
        self.slide = open_slide(path, um_per_px)
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
        self.table = _table(pd.DataFrame({"id": ids, "input": path.name, "x": x, "y": y}))

    @property
    def extent(self) -> float:
        """Side of a tile in px of the slide's finest level."""
        assert self.side is not None
        assert self.um_per_px is not None
        return self.side * self.slide.scale(self.um_per_px)

    def read(self, row: int) -> npt.NDArray[Any]:
        assert self.side is not None
        assert self.um_per_px is not None
        x, y = self.corners[row].tolist()
        return self.slide.read(x, y, self.side, self.side, self.um_per_px)


class RejectedSlide(Patches):
    """A slide of a folder that cannot be used, as one patch that cannot be read."""

    def __init__(self, name: str, frozen: FrozenEncoder, at: float | None, reason: str) -> None:
        self.name, self.um_per_px, self.side = name, at, frozen.side or frozen.size
        self.table = _table(pd.DataFrame({"id": [name], "input": [name]}))
        self._reason = reason

    def read(self, row: int) -> npt.NDArray[Any]:
        del row
        raise UnreadablePatch(self._reason)


def open_inputs(
    names: str | Path | Sequence[str | Path],
    frozen: FrozenEncoder,
    um_per_px: float | None = None,
    at: float | None = None,
) -> list[Patches]:
    """The patches of folders, stores, tables, image files, slides and folders of slides.

    `um_per_px` is the magnification of inputs that do not state theirs; `at` is the one that the
    encoder is to be given, by default that of its training. Raises `ConfigError` without inputs,
    `DataError` where one cannot be read, or has another magnification.
    """
    names = [names] if isinstance(names, str | Path) else names
    if not names:
        raise ConfigError("No inputs are given; name folders, stores, tables, images or slides.")
    expected = at or frozen.um_per_px
    opened: list[Patches] = []
    for name in map(str, names):
        for patches in _opened(name, frozen, um_per_px, expected):
            patches.place = str(Path(name).expanduser().absolute())
            opened.append(patches)
    for patches in opened:
        patches.um_per_px = patches.um_per_px or um_per_px
        _check_magnification(patches, frozen.um_per_px, at)
    slides = Counter(patches.name for patches in opened if isinstance(patches, SlidePatches))
    if slides and max(slides.values()) > 1:
        raise DataError(
            f"Two slides are called {slides.most_common(1)[0][0]}; give each to a command of its "
            "own, as their maps would have one name."
        )
    ids = pd.concat([patches.table["id"] for patches in opened])
    if ids.duplicated().any():
        raise DataError(
            f"The id '{ids[ids.duplicated()].iloc[0]}' stands for two patches; give each input "
            "once, and those with equal names to commands of their own."
        )
    return opened


def remarks(
    inputs: Sequence[Patches], frozen: FrozenEncoder, at: float | None = None
) -> Iterator[str]:
    """What cannot be checked, or differs, between inputs and the encoder's training.

    `at` as in `open_inputs`.
    """
    for patches in inputs:
        if patches.um_per_px is None and frozen.um_per_px is not None:
            yield (
                f"{patches.name} does not state its magnification, and the encoder was trained at "
                f"{frozen.um_per_px:g} µm per pixel; say it with --um-per-px."
            )
        elif patches.um_per_px is not None and frozen.um_per_px is None and frozen.side and not at:
            yield (
                f"{patches.name} has {patches.um_per_px:g} µm per pixel, and the magnification at "
                "which the encoder was trained is not known, so the two are not compared."
            )
        if patches.side:
            yield from extent_remarks(patches.name, patches.side, frozen)


def extent_remarks(name: str, side: int, frozen: FrozenEncoder) -> Iterator[str]:
    """A sentence where the patches of `name` have another side than those of the training."""
    if frozen.side and side != frozen.side:
        yield (
            f"{name} has patches of {side} px, and the encoder was trained on {frozen.side} px: "
            "at the same µm per pixel it is given another extent of tissue."
        )


def _is_picture(modality: Modality) -> bool:
    """Whether any image may be seen so: a mask's pixels are labels, which no image file holds."""
    return not modality.labels and not modality.vector


def _opened(
    name: str, frozen: FrozenEncoder, um_per_px: float | None, expected: float | None
) -> list[Patches]:
    path = Path(name).expanduser()
    suffix = path.suffix.lower()
    if (path / "meta.json").is_file():
        return [StorePatches(path, frozen.modality)]
    slides = path.is_dir() and any(f.suffix.lower() in SLIDES_ONLY for f in path.rglob("*"))
    image = path.is_file() and suffix in SLIDES_ONLY | frozenset(IMAGES)
    if (slides or image) and not _is_picture(frozen.modality):
        raise DataError(
            f"{path} holds images, and the encoder takes {frozen.modality_spec}; give a store that "
            "has it."
        )
    if slides:
        return _slides(path, frozen, um_per_px, expected)
    if image and (suffix in SLIDES_ONLY or _is_large(path)):
        return [_slide(path, frozen, um_per_px, expected)]
    if image:
        try:
            return [ImagePatches(path)]
        except UnreadablePatch as error:
            raise DataError(f"{path} cannot be read: {error}.") from error
    return [SourcePatches(path.name, open_images(name), frozen.modality)]


def _is_large(path: Path) -> bool:
    """Whether a .tif file is larger than a patch; what cannot be read is left to the reader."""
    try:
        return path.suffix.lower() in (".tif", ".tiff") and max(image_shape(path)) > PATCH
    except UnreadablePatch:
        return True


def _slides(
    folder: Path, frozen: FrozenEncoder, um_per_px: float | None, expected: float | None
) -> list[Patches]:
    """The slides of a folder, those that cannot be used as one unreadable patch each. Raises
    `DataError` where none can be."""
    slides: list[Patches] = []
    errors: list[DataError] = []
    for path in slide_files([folder]):
        try:
            slides.append(_slide(path, frozen, um_per_px, expected))
        except DataError as error:
            errors.append(error)
            slides.append(RejectedSlide(path.name, frozen, expected, rejection(error)))
    if len(errors) == len(slides):
        raise errors[0]
    return slides


def _slide(
    path: Path, frozen: FrozenEncoder, um_per_px: float | None, expected: float | None
) -> SlidePatches:
    if expected is None:
        raise DataError(
            f"{path} is a slide, and at which magnification this encoder was trained is not "
            "known; give it with --at, such as --at 0.5."
        )
    return SlidePatches(path, frozen.side or frozen.size, expected, um_per_px)


def _check_magnification(patches: Patches, trained: float | None, at: float | None) -> None:
    expected = at or trained
    if patches.um_per_px is None or expected is None:
        return
    if abs(patches.um_per_px / expected - 1) > TOLERANCE:
        wanted = f"--at asks for {at:g}" if at else f"the encoder was trained at {expected:g}"
        raise DataError(
            f"{patches.name} has {patches.um_per_px:g} µm per pixel and {wanted}; bring the "
            f"patches to that, or give --at {patches.um_per_px:g} to use them as they are."
        )


def _refuse_further(omitted: Mapping[str, int]) -> None:
    if FURTHER in omitted:
        raise UnreadablePatch("several pages or frames: save the one that is meant by itself")


def _square(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.ndim == 3 and array.shape[0] != array.shape[1]:
        height, width = array.shape[:2]
        raise UnreadablePatch(f"not square: {width} x {height}; cut square patches")
    return array


def _table(known: pd.DataFrame) -> pd.DataFrame:
    return known.reindex(columns=list(COLUMNS)).reset_index(drop=True)
