"""Open slide files. OpenSlide reads SVS, NDPI, MRXS, SCN, BIF, DICOM and tiled TIFF; tifffile reads
OME-TIFF and all other RGB TIFFs.

    slide = open_slide(Path("biopsy.svs"))
    patch = slide.read(x=4096, y=2048, width=224, height=224, um_per_px=0.5)
"""

import math
import os
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from morefromless.data.channels import import_slide_library, import_tifffile
from morefromless.data.slides import RGB, Slide
from morefromless.errors import ConfigError, DataError, UnreadablePatch
from morefromless.regular import MAX_FILE_BYTES

UM_PER_PX_RANGE = (0.02, 20.0)
"""Range of µm per pixel that a slide may state. A TIFF with the placeholder of 72 dots per inch
states 353."""
MAX_SIDE = 2**20
"""Maximum side of a slide in px; larger values come from damaged files."""


def open_slide(path: Path, um_per_px: float | None = None) -> Slide:
    """Open the slide at `path`; `um_per_px` is the finest level's scale if the file has none.

    Raises `DataError` if neither OpenSlide nor tifffile can read it, `ConfigError` if they are not
    installed.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"There is no slide {path}; check the path.")
    if not os.access(path, os.R_OK):
        raise DataError(f"No permission to read {path}; change its permissions.")
    tifffile = import_tifffile()
    openslide = import_slide_library("openslide")
    try:
        vendor = openslide.OpenSlide.detect_format(str(path))
        tiff = path.suffix.lower() in (".tif", ".tiff", ".btf")
        # OpenSlide would read only the first level of an OME-TIFF, without its scale.
        if vendor is None or (vendor == "generic-tiff" and tiff and _is_ome(path, tifffile)):
            if not tiff:
                raise DataError(
                    f"{path} is not a slide that OpenSlide can read; give a complete SVS, NDPI, "
                    "MRXS, SCN, BIF, DICOM or TIFF file."
                )
            slide: Slide = _TiffSlide(path, um_per_px, tifffile)
        else:
            try:
                slide = _OpenSlide(path, um_per_px, openslide)
            except openslide.OpenSlideError:
                if vendor != "generic-tiff":
                    raise
                # OpenSlide supports fewer TIFF codecs: no JPEG 2000, WebP or JPEG XL.
                slide = _TiffSlide(path, um_per_px, tifffile)
    except (ConfigError, DataError):
        raise
    except Exception as error:  # the readers may raise anything on a damaged file
        readable = openslide.OpenSlideError | tifffile.TiffFileError | OSError
        reason = str(error) if isinstance(error, readable) else "damaged"
        raise DataError(
            f"{path} cannot be opened as a slide ({reason}); download it again."
        ) from error
    if max(slide.size) > MAX_SIDE:
        raise DataError(
            f"{path} has {slide.size[0]} x {slide.size[1]} px, more than any slide; download it "
            "again."
        )
    return slide


class _OpenSlide(Slide):
    def __init__(self, path: Path, um_per_px: float | None, openslide: Any) -> None:
        self.path, self._module, self._lock = path, openslide, Lock()
        self._slide = openslide.OpenSlide(str(path))
        self.size = self._slide.dimensions
        self.downsamples = tuple(self._slide.level_downsamples)
        stated = [
            self._slide.properties.get(name)
            for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
        ]
        self.um_per_px = _mean_scale([float(s) for s in stated if s]) or um_per_px
        x, y = (
            int(self._slide.properties.get(name, 0))
            for name in (openslide.PROPERTY_NAME_BOUNDS_X, openslide.PROPERTY_NAME_BOUNDS_Y)
        )
        self.origin = x, y

    def _pixels(self, level: int, left: int, top: int, width: int, height: int) -> RGB:
        factor = self.downsamples[level]
        slide = self._slide
        try:
            region = slide.read_region(
                (round(left * factor), round(top * factor)), level, (width, height)
            )
        except self._module.OpenSlideError as error:
            with self._lock:  # after an error, all further reads of this handle fail
                if self._slide is slide:
                    self._slide = self._module.OpenSlide(str(self.path))
            raise _damaged(left * factor, top * factor) from error
        pixels = np.asarray(region)
        rgb = pixels[..., :3].copy()
        rgb[pixels[..., 3] == 0] = 255
        return rgb


class _TiffSlide(Slide):
    def __init__(self, path: Path, um_per_px: float | None, tifffile: Any) -> None:
        zarr = import_slide_library("zarr")
        self.path = path
        self._file = tifffile.TiffFile(path)
        colour = [s for s in self._file.series if _is_rgb(s)]
        if not colour:
            raise DataError(
                f"{path} has no RGB image with 8 bits per channel; give a stained slide."
            )
        series = max(colour, key=lambda s: s.sizes["width"] * s.sizes["height"])
        levels = series.levels
        if not all(_is_rgb(level) and _is_complete(level) for level in levels):
            raise DataError(f"{path} has incomplete or invalid levels; download it again.")
        self._planar = series.axes.index("S") == 0
        self.size = (series.sizes["width"], series.sizes["height"])
        self.downsamples = tuple(self.size[0] / level.sizes["width"] for level in levels)
        self._levels: list[Any] = [
            zarr.open_array(series.aszarr(level=k), mode="r") for k in range(len(levels))
        ]
        self.um_per_px = _mean_scale(_tiff_scale(self._file, series, tifffile)) or um_per_px

    def _pixels(self, level: int, left: int, top: int, width: int, height: int) -> RGB:
        array = self._levels[level]
        rows, columns = array.shape[1:] if self._planar else array.shape[:2]
        region = np.full((height, width, 3), 255, np.uint8)
        x0, x1 = np.clip((left, left + width), 0, columns)
        y0, y1 = np.clip((top, top + height), 0, rows)
        if x0 == x1 or y0 == y1:
            return region
        try:
            if self._planar:
                part = np.moveaxis(array[:, y0:y1, x0:x1], 0, -1)
            else:
                part = array[y0:y1, x0:x1]
        except Exception as error:  # a decoder may raise anything on a damaged tile
            factor = self.downsamples[level]
            raise _damaged(left * factor, top * factor) from error
        region[y0 - top : y1 - top, x0 - left : x1 - left] = part[..., :3]
        return region


def _damaged(x: float, y: float) -> UnreadablePatch:
    return UnreadablePatch(f"damaged: the slide cannot be read at x {x:.0f}, y {y:.0f}")


def _is_ome(path: Path, tifffile: Any) -> bool:
    with tifffile.TiffFile(path) as file:
        return bool(file.is_ome)


def _is_rgb(series: Any) -> bool:
    samples = series.sizes.get("sample", 1)
    return series.dtype == np.uint8 and samples in (3, 4) and series.axes in ("YXS", "SYX")


def _is_complete(level: Any) -> bool:
    """Whether the number of tiles or strips matches the height and width of a level."""
    page = level.keyframe
    if page.is_tiled and math.prod(page.tile) > MAX_FILE_BYTES:
        return False
    return bool(len(page.dataoffsets) == math.prod(page.chunked))


def _tiff_scale(file: Any, series: Any, tifffile: Any) -> list[float]:
    """µm per pixel along x and y, from the OME-XML if the TIFF has it, else from its tags."""
    if file.is_ome:
        images = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
        image = images[series.index] if isinstance(images, list) else images
        pixels = image["Pixels"]
        units = {"µm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4}
        return [
            float(pixels[f"PhysicalSize{axis}"]) * units[unit]
            for axis in "XY"
            if f"PhysicalSize{axis}" in pixels
            and (unit := pixels.get(f"PhysicalSize{axis}Unit", "µm")) in units
        ]
    tags = series.keyframe.tags
    unit = {2: 25400.0, 3: 10000.0}.get(tags.valueof("ResolutionUnit", 2))
    stated = [tags.valueof(name) for name in ("XResolution", "YResolution")]
    return [
        unit * denominator / numerator
        for numerator, denominator in filter(None, stated)
        if unit and numerator
    ]


def _mean_scale(stated: list[float]) -> float | None:
    """Mean of the scales along x and y; None if there is none, or one is implausible."""
    low, high = UM_PER_PX_RANGE
    if not stated or not all(low <= scale <= high for scale in stated):
        return None
    return sum(stated) / len(stated)
