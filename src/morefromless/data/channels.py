"""Images with any number of channels: grey, fluorescence, multiplex."""

import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from morefromless.data.arrays import open_npy
from morefromless.data.images import (
    ORIENTATION,
    TRANSPOSITIONS,
    has_16_bits,
    image_shape,
    open_image,
    read_rgb,
    upright,
)
from morefromless.errors import ConfigError, DataError, UnreadablePatch

MAX_CHANNELS = 512
"""Maximum number of channels of an image."""
MAX_ARRAY_BYTES = 2**30
"""Maximum size in bytes of an unpacked multi-channel TIFF."""
GREY_MODES = ("L", "I", "I;16", "I;16B", "I;16L")
RGB_MODES = ("RGB", "RGBA", "P", "PA")
"""Pillow's modes for RGB images."""


def reads_one_page(path: Path) -> bool:
    """Whether `read_channels` reads only one page of a file, as RGB."""
    if path.suffix.lower() == ".npy":
        return False
    try:
        with open_image(path) as image:
            return image.mode in RGB_MODES and not has_16_bits(image)
    except UnreadablePatch:
        return False


def read_channels(path: Path) -> npt.NDArray[Any]:
    """Read one image, (height, width, channels) uint8 or uint16, as stored.

    Reads RGB like `read_rgb`; grey images of 8 or 16 bits; TIFFs whose pages or samples are
    channels (OME-TIFF, ImageJ; extra `slides`); and .npy files of (H, W), (H, W, C) or (C, H, W).
    Raises `UnreadablePatch`.
    """
    if path.suffix.lower() == ".npy":
        return _channels_last(_map_npy(path), path)
    if path.suffix.lower() in (".tif", ".tiff"):
        return read_rgb(path) if reads_one_page(path) else _read_tiff(path)
    with open_image(path) as image:
        if image.mode not in GREY_MODES:
            return read_rgb(path)
        values = np.asarray(upright(image))
        return _channels_last(values.astype(np.uint16) if image.mode == "I" else values, path)


def _read_tiff(path: Path) -> npt.NDArray[Any]:
    tifffile = import_tifffile()
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            if series.nbytes > MAX_ARRAY_BYTES:
                raise UnreadablePatch("too large: cut it into patches first")
            values, axes = series.asarray(), series.axes
            method = TRANSPOSITIONS.get(series.keyframe.tags.valueof(ORIENTATION, 1))
    except UnreadablePatch:
        raise
    except Exception as error:  # a decoder may raise anything on a damaged file
        raise UnreadablePatch("unreadable: truncated or damaged; download it again") from error
    other_axes = [index for index, axis in enumerate(axes) if axis not in "YX"]
    if values.ndim == 3 and len(other_axes) == 1:
        values = _checked(np.moveaxis(values, other_axes[0], -1), path)
    else:
        values = _channels_last(values, path)
    if method is None:
        return values
    channels = np.moveaxis(values, -1, 0)
    turned = [np.asarray(Image.fromarray(channel).transpose(method)) for channel in channels]
    return np.stack(turned, axis=-1)


def channel_names(path: Path) -> tuple[str, ...]:
    """Names of the channels in the metadata of an OME-TIFF; empty if there are none."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return ()
    try:
        tifffile = import_tifffile()
        with tifffile.TiffFile(path) as file:
            if not file.is_ome:
                return ()
            image = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
        channels = (image[0] if isinstance(image, list) else image)["Pixels"]["Channel"]
        channels = channels if isinstance(channels, list) else [channels]
        return tuple(str(channel["Name"]) for channel in channels)
    except Exception:  # a damaged file; it is rejected when its pixels are read
        return ()


def reorder_channels(
    values: npt.NDArray[Any], names: Sequence[str], expected: Sequence[str], renamed: bool = False
) -> npt.NDArray[Any]:
    """Reorder channels (H, W, C) called `names` into the `expected` order.

    They stay unchanged if either is unknown, or if names differ and the user has `renamed` the
    channels. Raises `UnreadablePatch` if names differ otherwise.

    >>> reorder_channels(np.array([[[1, 2]]]), ["CD3", "DAPI"], ["DAPI", "CD3"]).tolist()
    [[[2, 1]]]
    """
    if not expected or tuple(names) == tuple(expected) or len(names) != values.shape[2]:
        return values
    if sorted(names) == sorted(expected) and len(set(names)) == len(names):
        return np.ascontiguousarray(values[..., [list(names).index(name) for name in expected]])
    if renamed:
        return values
    raise UnreadablePatch(
        f"other channels: they are called {', '.join(names)}, not {', '.join(expected)}; exclude "
        "the file, or name the channels of all files, in one order, with channels=DAPI+CD3"
    )


def channels_shape(path: Path) -> tuple[int, int]:
    """Height and width in px. Raises `UnreadablePatch`."""
    if path.suffix.lower() == ".npy":
        height, width, _ = _channels_last(_map_npy(path), path).shape
        return height, width
    try:
        return image_shape(path)
    except UnreadablePatch:  # a multi-channel TIFF that Pillow cannot read
        height, width, _ = read_channels(path).shape
        return height, width


def _map_npy(path: Path) -> npt.NDArray[Any]:
    try:
        return open_npy(path)
    except DataError as error:
        raise UnreadablePatch(f"unreadable: {str(error).removesuffix('.')}") from error


def _channels_last(values: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    if values.ndim == 2:
        values = values[..., None]
    elif values.ndim == 3 and values.shape[0] < min(values.shape[1:]):
        values = np.moveaxis(values, 0, -1)
    return _checked(values, path)


def _checked(values: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    if values.ndim != 3 or values.shape[2] > MAX_CHANNELS:
        raise UnreadablePatch(
            f"no image: {path.name} has shape {values.shape}; give (height, width) or (height, "
            "width, channels)"
        )
    if values.dtype not in (np.uint8, np.uint16):
        raise UnreadablePatch(
            f"other numbers: {path.name} holds {values.dtype}; store uint8 or uint16"
        )
    return np.ascontiguousarray(values)


def import_tifffile() -> Any:
    """Import tifffile and silence its logs about damaged files, which are rejected anyway.

    Raises `ConfigError` if it is not installed.
    """
    tifffile = import_slide_library("tifffile")
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    return tifffile


def import_slide_library(name: str) -> Any:
    """Import a library of the extra `slides`. Raises `ConfigError` if it is not installed; another
    package may have installed only a part of the extra."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            "Slides and multi-channel TIFFs need the extra slides; install it with pip install "
            "'morefromless[slides]'."
        ) from error
