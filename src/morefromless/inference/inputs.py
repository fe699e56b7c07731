"""What an encoder is given in use: the patches of folders, stores, tables and slides."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from morefromless.data.images import SUFFIXES as IMAGES
from morefromless.data.images import image_shape
from morefromless.data.slide_files import SLIDES_ONLY, SUFFIXES, files_below
from morefromless.errors import ConfigError, DataError, UnreadablePatch
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.inference.patches import (
    TOLERANCE,
    ImagePatches,
    Patches,
    SourcePatches,
    StorePatches,
    is_picture,
)
from morefromless.inference.slides import SlidePatches, open_slides, open_tiles
from morefromless.ingest.opening import open_images

PATCH = 1024
"""Side in px up to which a .tif file is a patch; a larger one is read as a slide."""


def open_inputs(
    names: str | Path | Sequence[str | Path],
    frozen: FrozenEncoder,
    um_per_px: float | None = None,
    at: float | None = None,
) -> list[Patches]:
    """The patches of folders, stores, tables, image files, slides and folders of slides.

    `um_per_px` is the magnification of inputs that do not state theirs; `at` is the one that the
    encoder is to be given, by default that of its training. Raises `ConfigError` without inputs,
    `DataError` where one cannot be read, or has another magnification or other channels.
    """
    names = [names] if isinstance(names, str | Path) else names
    if not names:
        raise ConfigError("No inputs are given; name folders, stores, tables, images or slides.")
    expected = at or frozen.um_per_px
    opened: list[Patches] = []
    for name in map(str, names):
        for patches in _open(name, frozen, um_per_px, expected):
            patches.place = str(Path(name).expanduser().absolute())
            opened.append(patches)
    for patches in opened:
        _refuse_bytes([patches.place, *patches.table["id"]])
        patches.um_per_px = patches.um_per_px or um_per_px
        _check_magnification(patches, frozen.um_per_px, at)
        frozen.check_same_names(patches.channels, patches.name)
    slides = Counter(patches.name for patches in opened if isinstance(patches, SlidePatches))
    if slides and max(slides.values()) > 1:
        raise DataError(
            f"Two slides are called {slides.most_common(1)[0][0]}, so their maps would have one "
            "name; give them in separate commands."
        )
    ids = pd.concat([patches.table["id"] for patches in opened])
    if ids.duplicated().any():
        raise DataError(
            f"Two patches have the id '{ids[ids.duplicated()].iloc[0]}'; give each input once, and "
            "inputs with equal names in separate commands."
        )
    return opened


def remarks(
    inputs: Sequence[Patches], frozen: FrozenEncoder, at: float | None = None
) -> Iterator[str]:
    """What cannot be checked, or differs, between inputs and the encoder's training.

    `at` as in `open_inputs`.
    """
    for patches in inputs:
        if patches.passed_over:
            counts = (f"{number:,} x {kind}" for kind, number in patches.passed_over.items())
            yield f"Of {patches.name} left out: {', '.join(counts)}."
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


def _open(
    name: str, frozen: FrozenEncoder, um_per_px: float | None, expected: float | None
) -> list[Patches]:
    path = Path(name).expanduser()
    suffix = path.suffix.lower()
    if (path / "meta.json").is_file():
        return [StorePatches(path, frozen.modality)]
    slides = path.is_dir() and _holds_slides(path)
    image = path.is_file() and suffix in SLIDES_ONLY | frozenset(IMAGES)
    if (slides or image) and not is_picture(frozen.modality):
        raise DataError(
            f"{path} holds images, and the encoder takes {frozen.modality_spec}; give a store that "
            "has it."
        )
    if slides:
        return open_slides(path, frozen, um_per_px, expected)
    if image and (suffix in SLIDES_ONLY or _is_large(path)):
        return [open_tiles(path, frozen, um_per_px, expected)]
    if image:
        try:
            return [ImagePatches(path)]
        except UnreadablePatch as error:
            raise DataError(f"{path} cannot be read: {error}.") from error
    return [SourcePatches(path.name, open_images(name), frozen.modality)]


def _holds_slides(folder: Path) -> bool:
    """Whether a folder holds files that only slides are, or images of TIFF alone, of which the
    largest file is a slide. Of 100,000 patches no other is opened. Folders that may not be read are
    left to the readers: those of slides refuse them, and those of patches count them."""
    images = list(files_below(folder, SLIDES_ONLY | frozenset(IMAGES), unreadable="skip"))
    endings = {path.suffix.lower() for path in images}
    if endings & SLIDES_ONLY:
        return True
    sizes = {f: f.stat().st_size for f in images if endings <= SUFFIXES and f.is_file()}
    return bool(sizes) and _is_large(max(sizes, key=sizes.__getitem__))


def _is_large(path: Path) -> bool:
    """Whether a .tif file is larger than a patch; what cannot be read is left to the reader."""
    try:
        return path.suffix.lower() in (".tif", ".tiff") and max(image_shape(path)) > PATCH
    except UnreadablePatch:
        return True


def _refuse_bytes(names: Sequence[str]) -> None:
    """Raise `DataError` where a name of a file is not UTF-8, which no file of features can hold."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"The name {name!a} is not in UTF-8; rename it.") from error


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
