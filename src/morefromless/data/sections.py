"""Find the images of whole tissue sections next to their tables, and decode them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from morefromless.data.expression import Counts
from morefromless.data.images import SUFFIXES, has_16_bits, upright, upright_shape
from morefromless.data.labels import NotText, cell_text, drop_zero_fraction
from morefromless.data.space_ranger import HIRES_IMAGE, find_outputs
from morefromless.data.spatial_zarr import image_pixels, image_size, is_spatialdata, section_image
from morefromless.errors import ConfigError, DataError, raising_data_errors
from morefromless.regular import open_regular

MAX_PIXELS = 2**30
"""Maximum number of pixels of an image: 3 GiB as RGB."""
DECODERS: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"\x89PNG", PngImagePlugin.PngImageFile),
    (b"II", TiffImagePlugin.TiffImageFile),
    (b"MM", TiffImagePlugin.TiffImageFile),
)
"""Decoder by first bytes. `Image.open` would reject a section as a decompression bomb, and its
limit applies to the whole process; `MAX_PIXELS` replaces it here."""


def find_sections(folder: Path) -> dict[str, tuple[Path, Path | None]]:
    """Paths of the counts and the image (or None) of every section in a folder, by name.

    A section is NAME.h5ad with NAME.jpg next to it; a Space Ranger folder NAME, whose image is the
    full-resolution NAME.jpg next to it, else its tissue_hires_image.png; or a SpatialData folder
    NAME.zarr, whose image is the largest in it. Raises `DataError` if no section has an image, or
    if a section exists twice or has two images.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}; check the path.")
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    sections: dict[str, tuple[Path, Path | None]] = {}
    for zarr in filter(is_spatialdata, files):
        sections[zarr.name.removesuffix(".zarr")] = zarr, section_image(zarr)
    for table in files:
        outputs = find_outputs(table)
        if outputs is None and table.suffix != ".h5ad":
            continue
        name = table.name if outputs else table.stem
        images = [p for p in files if p.stem == name and p.suffix.lower() in SUFFIXES]
        if len(images) > 1:
            raise DataError(
                f"{folder} has both {images[0].name} and {images[1].name}; keep the image whose "
                f"pixels {table.name} refers to."
            )
        if name in sections:
            other = sections[name][0].relative_to(folder).parts[0]
            raise DataError(
                f"{folder} has section {name} twice, as {other} and {table.name}; keep one."
            )
        image = images[0] if images else outputs and outputs / HIRES_IMAGE
        sections[name] = outputs or table, image
    if not any(image for _, image in sections.values()):
        raise DataError(
            f"{folder} has no section with an image: NAME.h5ad with NAME.jpg, .png or .tif, or a "
            "folder NAME of Space Ranger or SpatialData; check the path."
        )
    return sections


def scale_factor(counts: Counts, path: Path, image: str | None = None) -> float:
    """Px of a section's image per px of its spots' coordinates.

    `image` is the name of the image in `uns["spatial"]`: fullres, hires or lowres. If None, it is
    the one of equal size, else fullres. Raises `ConfigError` if its factor is unknown.
    """
    if image is None:
        shape = _shape(path)
        equal = [n for n, s in counts.image_shapes.items() if s == shape]
        return next((counts.scale_factors[n] for n in equal if n in counts.scale_factors), 1.0)
    if image != "fullres" and image not in counts.scale_factors:
        known = ", ".join(["fullres", *counts.scale_factors])
        raise ConfigError(f"{counts.file} has no scale factor for image={image}, only for {known}.")
    return counts.scale_factors.get(image, 1.0)


def patch_corners(
    counts: Counts, patch: int, path: Path, factor: float = 1.0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Top left corners (spots, 2) x, y in px of the patches around the spots, and whether each
    patch extends outside the image, (spots,) bool.

    `factor` is the result of `scale_factor`. Raises `DataError` if the image cannot be read, if no
    patch lies within it, or if most spots in tissue lie outside.
    """
    coordinates, file = counts.coordinates * factor, counts.file
    height, width = _shape(path)
    corners = np.floor(coordinates - patch / 2 + 0.5).clip(-(2**40), 2**40).astype(np.int64)
    room = np.array([width - patch, height - patch])
    outside = np.any((corners < 0) | (corners > room), axis=1, keepdims=True)[:, 0]
    beyond = (coordinates < 0) | (coordinates >= [width, height])
    centres_outside = (beyond[:, 0] | beyond[:, 1])[counts.in_tissue]
    count_outside = int(centres_outside.sum())
    if outside.all() or 2 * count_outside > len(centres_outside):
        few = f"{len(coordinates) - int(outside.sum())} of {len(coordinates)} patches"
        many = f"no patch of {patch} px lies" if outside.all() else f"only {few} of {patch} px lie"
        (left, top), (right, bottom) = coordinates.min(axis=0), coordinates.max(axis=0)
        raise DataError(
            f"{file} does not fit {path.name}: {many} within {width} x "
            f"{height} px (spots lie at x {left:.0f} to {right:.0f} and y {top:.0f} to "
            f"{bottom:.0f}); give obsm['spatial'] in pixels of this image, or a smaller patch="
            f"{_describe_factors(counts)}."
        )
    return corners, outside


def _describe_factors(counts: Counts) -> str:
    named = " or ".join(f"image={n} (x {f:g})" for n, f in counts.scale_factors.items())
    return f", or use a scale factor of the file: {named}" if named else ""


def read_column(table: pd.DataFrame, file: str, name: str, option: str) -> list[str]:
    """A column of `obs` as text: an empty cell becomes "", 1.0 becomes "1".

    Raises `DataError` if there is no such column; `option` is the option that names the column.
    """
    if name not in table:
        known = ", ".join(map(str, table.columns)) or "none"
        without = "none" if option == "label" else "section"
        raise DataError(
            f"{file} has no obs column {name} (it has {known}); choose one with {option}=, or use "
            f"none with {option}={without}."
        )
    cells = [cell_text(cell) for cell in table[name].tolist()]
    for cell in cells:
        if isinstance(cell, NotText):
            raise DataError(f"{file} has {cell} in obs column {name}; store text there.")
    return [drop_zero_fraction(cell) for cell in cells]


def read_section_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read a section's image: (height, width, 3) uint8 RGB, upright. Raises `DataError`."""
    if path.is_dir():
        return image_pixels(path)
    with _opened(path) as image:
        return np.asarray(upright(image))


def _shape(path: Path) -> tuple[int, int]:
    """Height and width of a section's image."""
    if not path.is_dir():
        with _opened(path) as image:
            return upright_shape(image)
    height, width = image_size(path)
    _check_area(path, width, height)
    return height, width


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """Open an RGB image with 8 bits per channel; errors in the block raise `DataError` too."""
    damaged = f"{path} is truncated or damaged; download it again."
    with raising_data_errors(damaged), open_regular(path) as file:
        start = file.read(4)
        decoder = next((kind for magic, kind in DECODERS if start.startswith(magic)), None)
        if decoder is None:
            raise DataError(f"{path} is not a jpg, png or tif image; download it again.")
        file.seek(0)
        with decoder(file, path.name) as image:
            _check_area(path, image.width, image.height)
            if image.mode != "RGB" or has_16_bits(image):
                raise DataError(f"{path} is not RGB with 8 bits per channel; convert it.")
            yield image


def _check_area(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{path} has {width} x {height} px, more than {MAX_PIXELS:,} in total; shrink it, and "
            "scale the coordinates of its spots by the same factor."
        )
