"""Open inference inputs: patches of folders, stores, tables and slides."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from morefromless.data.images import SUFFIXES as IMAGES
from morefromless.data.images import image_shape
from morefromless.data.slide_files import SLIDE_ONLY_SUFFIXES, SUFFIXES, files_below
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
from morefromless.ingest.listing import no_patches, skipped_kinds
from morefromless.ingest.opening import open_images

MAX_PATCH_SIDE = 1024
"""Largest side in px of a .tif file that is read as a patch; a larger one is read as a slide."""


def open_inputs(
    names: str | Path | Sequence[str | Path],
    frozen: FrozenEncoder,
    um_per_px: float | None = None,
    at: float | None = None,
) -> list[Patches]:
    """Open the patches of folders, stores, tables, image files, slides and folders of slides.

    `um_per_px` is the magnification of inputs that do not state one. `at` is the magnification at
    which the encoder is applied, by default that of its training. Raises `ConfigError` if there
    are no inputs. Raises `DataError` if an input cannot be read, or has another magnification or
    other channels.
    """
    names = [names] if isinstance(names, str | Path) else names
    if not names:
        raise ConfigError("No inputs are given; give folders, stores, tables, images or slides.")
    expected = at or frozen.um_per_px
    opened: list[Patches] = []
    for name in map(str, names):
        for patches in _open(name, frozen, um_per_px, expected):
            patches.absolute_path = str(Path(name).expanduser().absolute())
            opened.append(patches)
    for patches in opened:
        _refuse_non_utf8([patches.absolute_path, *patches.table["id"]])
        patches.um_per_px = patches.um_per_px or um_per_px
        _check_magnification(patches, frozen.um_per_px, at)
        frozen.check_same_names(patches.channels, patches.name)
    slides = Counter(patches.name for patches in opened if isinstance(patches, SlidePatches))
    if slides and max(slides.values()) > 1:
        raise DataError(
            f"Two slides have the name {slides.most_common(1)[0][0]}, so their maps would have "
            "the same name; give them in separate commands."
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
    """Yield differences between inputs and the encoder's training, and what cannot be checked.

    `at` as in `open_inputs`.
    """
    for patches in inputs:
        if patches.skipped_files:
            yield f"Skipped in {patches.name}: {skipped_kinds(patches.skipped_files)}."
        if patches.um_per_px is None and frozen.um_per_px is not None:
            yield (
                f"{patches.name} does not state its magnification, and the encoder was trained at "
                f"{frozen.um_per_px:g} µm per pixel; give the magnification with --um-per-px."
            )
        elif patches.um_per_px is not None and frozen.um_per_px is None and frozen.side and not at:
            yield (
                f"{patches.name} has {patches.um_per_px:g} µm per pixel. The magnification of the "
                "encoder's training is unknown, so the two are not compared."
            )
        if patches.side:
            yield from extent_remarks(patches.name, patches.side, frozen)


def extent_remarks(name: str, side: int, frozen: FrozenEncoder) -> Iterator[str]:
    """Yield a sentence if the patches of `name` and of the training differ in size."""
    if frozen.side and side != frozen.side:
        yield (
            f"{name} has patches of {side} px, and the encoder was trained on {frozen.side} px: "
            "at the same µm per pixel they show another extent of tissue."
        )


def _open(
    name: str, frozen: FrozenEncoder, um_per_px: float | None, expected: float | None
) -> list[Patches]:
    path = Path(name).expanduser()
    suffix = path.suffix.lower()
    if (path / "meta.json").is_file():
        return [StorePatches(path, frozen.modality)]
    slides = path.is_dir() and _holds_slides(path)
    image = path.is_file() and suffix in SLIDE_ONLY_SUFFIXES | frozenset(IMAGES)
    if (slides or image) and not is_picture(frozen.modality):
        raise DataError(
            f"{path} contains images, but the encoder takes {frozen.modality_spec}; give a store "
            "with that modality."
        )
    if slides:
        return open_slides(path, frozen, um_per_px, expected)
    if image and (suffix in SLIDE_ONLY_SUFFIXES or _is_large(path)):
        return [open_tiles(path, frozen, um_per_px, expected)]
    if image:
        try:
            return [ImagePatches(path)]
        except UnreadablePatch as error:
            raise DataError(f"{path} cannot be read: {error}.") from error
    patches = SourcePatches(path.name, open_images(name), frozen.modality)
    if not len(patches):
        raise no_patches(str(path), patches.skipped_files)
    return [patches]


def _holds_slides(folder: Path) -> bool:
    """Whether a folder contains slides: a file of a slide-only format, or only TIFF images of which
    the largest file is a slide. Only that largest file is opened, even in a folder of 100,000
    patches. Unreadable folders are skipped here: slide readers refuse them, and patch readers
    count them."""
    images = list(files_below(folder, SLIDE_ONLY_SUFFIXES | frozenset(IMAGES), unreadable="skip"))
    suffixes = {path.suffix.lower() for path in images}
    if suffixes & SLIDE_ONLY_SUFFIXES:
        return True
    sizes = {f: f.stat().st_size for f in images if suffixes <= SUFFIXES and f.is_file()}
    return bool(sizes) and _is_large(max(sizes, key=sizes.__getitem__))


def _is_large(path: Path) -> bool:
    """Whether a .tif file is larger than a patch. True if it is unreadable: opening it as a slide
    then reports the error."""
    try:
        return path.suffix.lower() in (".tif", ".tiff") and max(image_shape(path)) > MAX_PATCH_SIDE
    except UnreadablePatch:
        return True


def _refuse_non_utf8(names: Sequence[str]) -> None:
    """Raise `DataError` if a file name is not UTF-8, because feature files cannot store it."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"The name {name!a} is not in UTF-8; rename it.") from error


def _check_magnification(
    patches: Patches, training_um_per_px: float | None, at: float | None
) -> None:
    expected = at or training_um_per_px
    if patches.um_per_px is None or expected is None:
        return
    if abs(patches.um_per_px / expected - 1) > TOLERANCE:
        expectation = f"--at requests {at:g}" if at else f"the encoder was trained at {expected:g}"
        raise DataError(
            f"{patches.name} has {patches.um_per_px:g} µm per pixel, but {expectation}; rescale "
            f"the patches, or give --at {patches.um_per_px:g} to use them unchanged."
        )
