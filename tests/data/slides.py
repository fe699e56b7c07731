"""Synthetic slides for tests: tissue and ink on glass, in common formats."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

RGB = npt.NDArray[np.uint8]
INK = {"green": (40, 160, 80), "blue": (40, 60, 190), "black": (15, 15, 18), "red": (225, 30, 40)}


@lru_cache
def drawn(side: int = 1024, seed: int = 0) -> RGB:
    """A disk of pink and purple tissue in the upper left on nearly white glass, with one line of
    ink per colour below it."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side, 3), 244.0)
    y, x = np.mgrid[:side, :side] / side
    tissue = (x - 0.35) ** 2 + (y - 0.35) ** 2 < 0.09
    image[tissue] = (222, 165, 200)
    image[tissue & (rng.random((side, side)) < 0.2)] = (105, 70, 140)
    for number, colour in enumerate(INK.values()):
        image[(y > 0.74 + 0.06 * number) & (y < 0.78 + 0.06 * number)] = colour
    image += rng.normal(0, 3, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def write_ome(path: Path, image: RGB, um_per_px: float | None = 0.5, factor: int = 4) -> Path:
    """A tiled OME-TIFF with two levels; the second one holds area averages."""
    side = len(image) // factor * factor
    blocks = image[:side, :side].reshape(side // factor, factor, side // factor, factor, 3)
    scale = {} if um_per_px is None else {"PhysicalSizeX": um_per_px, "PhysicalSizeY": um_per_px}
    options = {"tile": (256, 256), "photometric": "rgb", "compression": "deflate"}
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(image, subifds=1, metadata={"axes": "YXS", **scale}, **options)
        file.write(np.rint(blocks.mean((1, 3))).astype(np.uint8), subfiletype=1, **options)
    return path


def write_tiled(path: Path, image: RGB, um_per_px: float = 0.5) -> Path:
    """A tiled JPEG TIFF with its scale in tags, as OpenSlide reads it."""
    tifffile.imwrite(
        path,
        image,
        tile=(256, 256),
        photometric="rgb",
        compression="jpeg",
        resolution=(1e4 / um_per_px, 1e4 / um_per_px),
        resolutionunit="CENTIMETER",
    )
    return path
