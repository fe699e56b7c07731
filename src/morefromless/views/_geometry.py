"""Flip, crop and rotation of a batch, each patch with values of its own.

Places are written in the units of `grid_sample` with `align_corners=False`: a patch reaches from
-1 (the outer edge of its first pixel) to 1, x before y, y downwards.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from morefromless.views import record
from morefromless.views._draws import bernoulli, uniform


def rotation(angles: Tensor) -> Tensor:
    """(B,) radians -> (B, 2, 2): where in the source an output place lies.

    Positive angles turn the content anticlockwise.
    """
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)


def affine(flips: Tensor, scales: Tensor, centres: Tensor, angles: Tensor) -> Tensor:
    """Maps (B, 2, 3) from output to source: source = flip (centre + scale R(angle) output).

    `flips` (B, 2) bool for x and y; `scales` (B,) the side of the crop as a share of the patch's;
    `centres` (B, 2) where the crop lies; `angles` (B,) radians.
    """
    signs = 1.0 - 2.0 * flips.to(scales.dtype)
    turned = scales[:, None, None] * rotation(angles)
    return signs[..., None] * torch.cat((turned, centres[..., None]), -1)


def draw(
    count: int, flip: float, crop: float, rotation: float, generator: torch.Generator
) -> Tensor:
    """Maps (count, 2, 3) as `affine` makes them: a flip of each axis with a probability, a crop
    whose side is uniform from `crop` to 1, anywhere, and a rotation with a probability."""
    flips = bernoulli(2 * count, flip, generator).view(count, 2)
    scales = uniform(count, crop, 1, generator)
    centres = uniform(2 * count, -1, 1, generator).view(count, 2) * (1 - scales)[:, None]
    angles = uniform(count, 0, 2 * torch.pi, generator) * bernoulli(count, rotation, generator)
    record(flips, "flip")
    record(scales, lambda side: f"crop {100 * side:.0f} %", unless=1)
    record(angles, lambda angle: f"rotate {angle.rad2deg():.0f}°")
    return affine(flips, scales, centres, angles)


def warp(
    images: Tensor, maps: Tensor, reading: Literal["bilinear", "nearest"] = "bilinear"
) -> Tensor:
    """Flip, crop and rotation (B, 2, 3) in one reading of (B, C, S, S).

    One reading is cheaper and sharper than three. What lies outside the patch is its reflection,
    so no black corner tells a network that a patch was turned.
    """
    grid = _grid(maps, images.shape[-1])
    return F.grid_sample(images, grid, reading, padding_mode="reflection", align_corners=False)


def rotate_nearest(images: Tensor, angles: Tensor) -> Tensor:
    """Rotation about the centre by (B,) radians: nearest pixel, black where there is none."""
    maps = F.pad(rotation(angles), (0, 1))
    grid = _grid(maps, images.shape[-1])
    return F.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def crop_resize(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Read (B, C, S, S) bilinearly at the source pixels `rows` (B, S) x `columns` (B, S).

    Pixel centres are integers here: 0 is the middle of the first pixel, S - 1 of the last.
    """
    side = images.shape[-1]
    grid = torch.empty(len(images), side, side, 2, dtype=images.dtype, device=images.device)
    grid[..., 0] = ((2 * columns + 1) / side - 1)[:, None, :]
    grid[..., 1] = ((2 * rows + 1) / side - 1)[:, :, None]
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def crop_positions(start: Tensor, length: Tensor, flip: Tensor, side: int) -> Tensor:
    """(B, side) source pixels of a crop of whole pixels, resized to `side`, of a flipped patch.

    `start` and `length` (B,) are in pixels of the flipped patch. Pixel centres lie at half
    integers and nothing outside the crop is read, as in TensorFlow's `resize` of a cut-out.
    """
    output = torch.arange(side, dtype=start.dtype, device=start.device) + 0.5
    inside = output * (length / side)[:, None] - 0.5
    inside = torch.minimum(inside.clamp_(min=0), length[:, None] - 1)
    position = start[:, None] + inside
    return torch.where(flip[:, None], side - 1 - position, position)


def _grid(maps: Tensor, side: int) -> Tensor:
    """`affine_grid` as a sum of what x and what y contribute, which is several times faster."""
    at = (2 * torch.arange(side, dtype=maps.dtype, device=maps.device) + 1) / side - 1
    along_x = maps[..., 0:1] * at
    along_y = maps[..., 1:2] * at + maps[..., 2:3]
    grid = torch.empty(len(maps), side, side, 2, dtype=maps.dtype, device=maps.device)
    for axis in (0, 1):
        torch.add(along_x[:, axis, None, :], along_y[:, axis, :, None], out=grid[..., axis])
    return grid
