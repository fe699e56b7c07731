"""Resizing: output rows are weighted means of input rows, and output columns of input columns.

All resizing here is linear and separable, so one matrix W (size, side) defines it: Y = W X Wᵀ. On
a CPU, this is also the fastest way to reduce to a few pixels and enlarge again.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from morefromless.data.areas import area_weights
from morefromless.errors import DataError

Interpolation = Literal["area", "antialiased", "point"]

_BLOCK_PIXELS = 2**17
"""Pixels per block on a CPU, so that intermediate floats stay in the cache."""


def resize(patches: Tensor, *matrices: Tensor) -> Tensor:
    """Resize (B, H, H, C) uint8 -> (B, C, S, S) float32 in [0, 1] by weight matrices in sequence.

    Computes in float32, also under autocast; intermediate values are not rounded to 8 bits.
    """
    side = square_side(patches)
    size = matrices[-1].shape[0] if matrices else side
    matrices = tuple(
        matrix.to(patches.device, torch.float32, non_blocking=True) for matrix in matrices
    )
    shape = (len(patches), patches.shape[-1], size, size)
    rendered = torch.empty(shape, dtype=torch.float32, device=patches.device)
    step = max(1, _BLOCK_PIXELS // side**2 if patches.device.type == "cpu" else len(patches))
    with torch.no_grad(), torch.autocast(patches.device.type, enabled=False):
        for start in range(0, len(patches), step):
            images = _channels_first(patches[start : start + step], *matrices[:1])
            for matrix in matrices[1:]:
                images = matrix @ images @ matrix.T
            block = torch.div(images, 255, out=rendered[start : start + step])
            block.clamp_(0, 1)  # the weights sum to 1 up to rounding
    return rendered


def _channels_first(patches: Tensor, *matrices: Tensor) -> Tensor:
    """(B, H, H, C) uint8 -> (B, C, S, S) float32 in 0-255, resized if a matrix is given.

    Rows are resized before the channels are moved, so that far less data are moved.
    """
    if not matrices:
        images = patches.permute(0, 3, 1, 2)
        return images.to(torch.float32, memory_format=torch.contiguous_format)
    matrix = matrices[0]
    count, _, side, channels = patches.shape
    rows = (matrix @ patches.float().flatten(2)).view(count, len(matrix), side, channels)
    return rows.permute(0, 3, 1, 2) @ matrix.T


@lru_cache(maxsize=64)
def interpolation_matrix(interpolation: Interpolation, side: int, size: int) -> Tensor:
    """Matrix (size, side), float64, that resizes `side` pixels to `size`; its rows sum to 1.

    area         mean over the area of each output pixel, including fractions of input pixels
    antialiased  bilinear with the triangle filter scaled to the reduction (TensorFlow
                 `antialias=True`, Pillow `BILINEAR`); plain bilinear when enlarging
    point        bilinear between the two nearest pixels; all other pixels are skipped
                 (TensorFlow `antialias=False`)

    Pixel centres are at half integers. The result is cached: do not modify it.
    """
    if interpolation == "area":
        return torch.from_numpy(area_weights(side, size, np.float64))
    # Resizing the unit vectors gives the matrix.
    unit = torch.eye(side, dtype=torch.float64)[None, None]
    antialias = interpolation == "antialiased"
    return F.interpolate(unit, size=(size, side), mode="bilinear", antialias=antialias)[0, 0]


def bilinear_matrices(side: int, size: int) -> tuple[Tensor, ...]:
    """Matrices to the network's `size`: bilinear, antialiased when shrinking; none if equal."""
    return () if side == size else (interpolation_matrix("antialiased", side, size),)


def square_side(patches: Tensor) -> int:
    """The side of (B, H, W, C) patches. Raises `DataError` if they are not square."""
    _, height, width, _ = patches.shape
    if height != width:
        raise DataError(
            f"Patches of {width} x {height} pixels are not square; cut them square before ingest."
        )
    return int(height)
