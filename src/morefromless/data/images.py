"""Read image files unchanged: RGB with 8 bits per channel, without implicit conversion."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from types import ModuleType

import numpy as np
import numpy.typing as npt

# Imported for their side effect: decoders are registered before threads use them.
from PIL import (
    BmpImagePlugin,  # noqa: F401
    Image,
    ImageFile,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from morefromless.errors import DataError, UnreadablePatch
from morefromless.regular import open_regular, read_bytes

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
ORIENTATION = 0x0112
"""Orientation tag of EXIF and TIFF; values 5 to 8 swap height and width."""
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
JPEG_SUFFIXES, JPEG_START = (".jpg", ".jpeg"), b"\xff\xd8\xff"
JPEG_PIXELS = b"\xff\xda\0\x0c\x03"
"""Marker between a JPEG's header and its pixels of three colours."""
SPECIAL_MARKERS = (b"Exif\0", b"MPF\0", b"Adobe")
"""Markers of JPEGs that may be rotated, hold several pictures, or use other colours."""
DAMAGED = "unreadable: truncated or damaged; download it again"
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
"""Formats that are decoded, regardless of the file name; Pillow supports riskier ones."""


def describe_suffix(path: Path) -> str:
    """How messages describe files with this file name extension.

    >>> describe_suffix(Path("a/b.BMP")), describe_suffix(Path("README"))
    ("ending in '.bmp'", 'without an ending')
    """
    suffix = path.suffix.lower()
    return f"ending in {suffix!r}" if suffix else "without an ending"


def list_images(root: Path) -> tuple[list[str], Counter[str]]:
    """Paths of the image files below `root`, relative to it, in a fixed order; and the number of
    skipped items by kind: files with other extensions and unreadable folders.

    Hidden files and folders are excluded. Links to folders are followed, each folder once.
    Raises `DataError` for a name that is not printable.
    """
    paths: list[str] = []
    skipped_files: Counter[str] = Counter()

    def count_unreadable(error: OSError) -> None:
        folder = os.path.relpath(error.filename, root)
        skipped_files[f"folder {folder!r} ({(error.strerror or 'unreadable').lower()})"] += 1

    for folder, names, files in walk(root, count_unreadable):
        names[:] = sorted(n for n in names if not n.startswith(".") and n != "__MACOSX")
        subfolder = os.path.relpath(folder, root)
        for name in sorted(files):
            if name.startswith("."):
                continue
            if os.path.splitext(name)[1].lower() not in SUFFIXES:
                skipped_files[f"file {describe_suffix(Path(name))}"] += 1
                continue
            path = name if subfolder == os.curdir else f"{subfolder}{os.sep}{name}"
            if not path.isprintable():
                raise DataError(
                    f"{root} has a file name with unprintable characters, {path!r}; rename it."
                )
            paths.append(path)
    return paths, skipped_files


def walk(
    root: Path, onerror: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """`os.walk` that follows links to folders, and yields each folder once."""
    visited = set()
    for folder, names, files in os.walk(root, followlinks=True, onerror=onerror):
        real = os.path.realpath(folder)
        if real in visited:
            names.clear()
            continue
        visited.add(real)
        yield folder, names, files


FURTHER_PAGE = "further page or frame of an image"


def further_pages(path: Path | bytes) -> dict[str, int]:
    """Number of pages or frames of an image file that `read_rgb` does not read, by kind."""
    try:
        with open_image(path) as image:
            count = int(getattr(image, "n_frames", 1)) - 1
    except UnreadablePatch:
        return {}
    return {FURTHER_PAGE: count} if count > 0 else {}


def strip_image_suffix(name: str) -> str:
    """A patch's id without the extension of an image file, if it has one.

    >>> strip_image_suffix("a/1.png"), strip_image_suffix("consep_1.2")
    ('a/1', 'consep_1.2')
    """
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in SUFFIXES else name


def read_rgb(path: Path | bytes) -> npt.NDArray[np.uint8]:
    """Read one image, (height, width, 3) uint8: upright, otherwise exactly as stored.

    `path` is a file, or the bytes of a file. The orientation (tag of EXIF or TIFF) is applied in
    every format.

    Accepts RGB, palettes, and RGBA that is opaque everywhere: these convert without loss. Raises
    `UnreadablePatch` for everything else; the words before the colon name the kind of reason.
    """
    return read_pages(path)[0]


def read_pages(path: Path | bytes) -> tuple[npt.NDArray[np.uint8], dict[str, int]]:
    """The results of `read_rgb` and `further_pages` for an image."""
    pixels = _plain_jpeg(path)
    if pixels is not None:
        return pixels, {}
    with open_image(path) as image:
        _check_mode(image)
        single = _is_single(image)
        pixels = _rgb(upright(image))
    return pixels, {} if single else further_pages(path)


def _is_single(image: ImageFile.ImageFile) -> bool:
    """Whether a file is known to have only one page or frame, without counting them."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return not image.tag_v2.next
    return image.format == "JPEG" or getattr(image, "n_frames", 1) == 1


def image_shape(path: Path | bytes) -> tuple[int, int]:
    """Height and width in px from an image's header. Raises `UnreadablePatch` as `read_rgb`."""
    with open_image(path) as image:
        return upright_shape(image)


def upright_shape(image: Image.Image) -> tuple[int, int]:
    """Height and width in px after the orientation in the image's header is applied."""
    turned = _orientation(image) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def upright(image: Image.Image) -> Image.Image:
    """Rotate and mirror an image as its header states.

    >>> image = Image.new("RGB", (4, 2))
    >>> upright(image).size
    (4, 2)
    """
    method = TRANSPOSITIONS.get(_orientation(image))
    return image if method is None else image.transpose(method)


def _orientation(image: Image.Image) -> int:
    # Pillow rotates a TIFF itself, size and pixels. For a PNG, `getexif` would decode all pixels to
    # find EXIF data after them, so only EXIF data before the pixels are used.
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    return int(image.getexif().get(ORIENTATION, 1))


@contextmanager
def open_image(path: Path | bytes) -> Iterator[ImageFile.ImageFile]:
    """Open an image file of one of `FORMATS`; errors in the block raise `UnreadablePatch` too."""
    try:
        if not path if isinstance(path, bytes) else path.stat().st_size == 0 and path.is_file():
            raise UnreadablePatch("empty file: 0 bytes; download it again")
        with (
            BytesIO(path) if isinstance(path, bytes) else open_regular(path) as file,
            Image.open(file, formats=FORMATS) as image,
        ):
            yield image
    except UnreadablePatch:
        raise
    except UnidentifiedImageError as error:
        raise UnreadablePatch("unreadable: not a png, jpg, tif, bmp or webp image") from error
    except Image.DecompressionBombError as error:
        raise UnreadablePatch("too large: cut it into patches first") from error
    except FileNotFoundError as error:
        raise UnreadablePatch("unreadable: the file no longer exists") from error
    except PermissionError as error:
        raise UnreadablePatch("unreadable: no permission to read it") from error
    except MemoryError:
        raise
    except Exception as error:  # a decoder may raise anything on a damaged file
        raise UnreadablePatch(DAMAGED) from error


def _check_mode(image: ImageFile.ImageFile) -> None:
    if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise UnreadablePatch("too large: cut it into patches first")
    if image.mode[0] in "IF" or has_16_bits(image):
        raise UnreadablePatch("16-bit image: convert to RGB with 8 bits per channel")
    if image.mode in ("1", "L", "LA", "La"):
        raise UnreadablePatch("grey image: convert to RGB if grey is intended")
    if image.mode not in ("RGB", "RGBA", "P", "PA"):
        raise UnreadablePatch(f"colours not RGB: mode {image.mode}; convert to RGB")


def has_16_bits(image: ImageFile.ImageFile) -> bool:
    """Whether an image that Pillow opens as 8-bit RGB has 16 bits per channel.

    Pillow would drop the low bits; only the raw mode shows it.
    """
    return any(";16" in str(tile[3]) for tile in image.tile)


def _plain_jpeg(path: Path | bytes) -> npt.NDArray[np.uint8] | None:
    """Decode a plain JPEG with simplejpeg: one colour picture, neither rotated nor too large.

    Returns None for all other files, which Pillow reads or rejects. The header is not read with
    Pillow because that takes a quarter of the decoding time. Raises `UnreadablePatch` for damaged
    pixels.
    """
    library = _simplejpeg()
    if library is None or (isinstance(path, Path) and path.suffix.lower() not in JPEG_SUFFIXES):
        return None
    try:
        data = path if isinstance(path, bytes) else read_bytes(path)
        header = data[: data.find(JPEG_PIXELS)]
        if not data.startswith(JPEG_START) or any(mark in header for mark in SPECIAL_MARKERS):
            return None
        height, width, colours, _ = library.decode_jpeg_header(data)
        if colours != "YCbCr" or height * width > (Image.MAX_IMAGE_PIXELS or 0):
            return None
    except (OSError, ValueError):
        return None
    # At an even address the decoder may bypass the CPU cache: decoding takes a sixth longer, and
    # the next access to the pixels is slow.
    memory = np.empty(height * width * 3 + 1, np.uint8)[1:]
    try:
        pixels: npt.NDArray[np.uint8] = library.decode_jpeg(data, buffer=memory)
    except ValueError as error:
        raise UnreadablePatch(DAMAGED) from error
    return pixels


@cache
def _simplejpeg() -> ModuleType | None:
    """simplejpeg if it is installed, else None.

    It decodes the same pixels as Pillow in two thirds of the time (`python -m benchmarks ingest`).
    imagecodecs is as fast, but accepts truncated files as complete.
    """
    try:
        import simplejpeg
    except ImportError:
        return None
    module: ModuleType = simplejpeg
    return module


def _rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode == "RGB" and "transparency" not in image.info:
        return np.asarray(image)
    pixels = np.asarray(image.convert("RGBA"))
    if (pixels[..., 3] != 255).any():
        raise UnreadablePatch("transparent image: flatten it onto its background")
    return np.ascontiguousarray(pixels[..., :3])
