"""Resizing: each output row is a weighted mean of input rows, and likewise for columns.

All resizing here is linear and separable, so one matrix W (size, side) says all of it and
Y = W X Wᵀ does it. That is also the fastest way down to a few pixels and back up on a CPU.
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

_BLOCK = 2**17
"""Pixels worked on at once on a CPU, so that the floats in between stay in the cache."""


def resized(patches: Tensor, *weights: Tensor) -> Tensor:
    """(B, H, H, C) uint8 -> (B, C, S, S) float32 in [0, 1], by one weight matrix after another.

    float32 throughout, also under autocast: no value is rounded to 8 bits in between.
    """
    side = square_side(patches)
    size = weights[-1].shape[0] if weights else side
    weights = tuple(
        matrix.to(patches.device, torch.float32, non_blocking=True) for matrix in weights
    )
    shape = (len(patches), patches.shape[-1], size, size)
    rendered = torch.empty(shape, dtype=torch.float32, device=patches.device)
    step = max(1, _BLOCK // side**2 if patches.device.type == "cpu" else len(patches))
    with torch.no_grad(), torch.autocast(patches.device.type, enabled=False):
        for start in range(0, len(patches), step):
            images = _channels_first(patches[start : start + step], *weights[:1])
            for matrix in weights[1:]:
                images = matrix @ images @ matrix.T
            into = torch.div(images, 255, out=rendered[start : start + step])
            into.clamp_(0, 1)  # the weights sum to 1 but for the last bit
    return rendered


def _channels_first(patches: Tensor, *weights: Tensor) -> Tensor:
    """(B, H, H, C) uint8 -> (B, C, S, S) float32 in 0-255, resized where a matrix is given.

    Rows are reduced while the channels still stand last: far less is left to be moved.
    """
    if not weights:
        images = patches.permute(0, 3, 1, 2)
        return images.to(torch.float32, memory_format=torch.contiguous_format)
    matrix = weights[0]
    count, _, side, channels = patches.shape
    rows = (matrix @ patches.float().flatten(2)).view(count, len(matrix), side, channels)
    return rows.permute(0, 3, 1, 2) @ matrix.T


@lru_cache(maxsize=64)
def weights(interpolation: Interpolation, side: int, size: int) -> Tensor:
    """The matrix (size, side), float64, that takes `side` pixels to `size`; its rows sum to 1.

    area         the mean over each output pixel's own square, fractions of pixels included
    antialiased  bilinear with the triangle widened to the reduction (TensorFlow `antialias=True`,
                 Pillow `BILINEAR`); plain bilinear where it enlarges
    point        bilinear between the two nearest pixels, whatever lies between them is skipped
                 (TensorFlow `antialias=False`)

    Pixel centres lie at half integers. The result is shared: do not change it.
    """
    if interpolation == "area":
        return torch.from_numpy(area_weights(side, size, np.float64))
    # What the library does to each unit vector is the matrix itself.
    unit = torch.eye(side, dtype=torch.float64)[None, None]
    antialias = interpolation == "antialiased"
    return F.interpolate(unit, size=(size, side), mode="bilinear", antialias=antialias)[0, 0]


def fit(side: int, size: int) -> tuple[Tensor, ...]:
    """To the network's `size`: bilinear, antialiased where it shrinks; nothing where equal."""
    return () if side == size else (weights("antialiased", side, size),)


def square_side(patches: Tensor) -> int:
    """The side of (B, H, W, C) patches. Raises `DataError` where they are not square."""
    _, height, width, _ = patches.shape
    if height != width:
        raise DataError(
            f"Patches of {width} x {height} pixels are not square; cut them square before ingest."
        )
    return int(height)
