"""Flip, crop and rotation of a batch, with separate values for each patch.

Coordinates are those of `grid_sample` with `align_corners=False`: a patch extends from -1 (the
outer edge of its first pixel) to 1, x before y, y downwards.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from morefromless.views import record
from morefromless.views._draws import bernoulli, uniform


def rotation(angles: Tensor) -> Tensor:
    """Matrices (B,) radians -> (B, 2, 2) from output to source coordinates.

    Positive angles turn the content anticlockwise.
    """
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)


def affine(flips: Tensor, scales: Tensor, centres: Tensor, angles: Tensor) -> Tensor:
    """Maps (B, 2, 3) from output to source: source = flip (centre + scale R(angle) output).

    `flips` (B, 2) bool for x and y; `scales` (B,) the side of the crop as a share of the patch's
    side; `centres` (B, 2) the centre of the crop; `angles` (B,) radians.
    """
    signs = 1.0 - 2.0 * flips.to(scales.dtype)
    rotations = scales[:, None, None] * rotation(angles)
    return signs[..., None] * torch.cat((rotations, centres[..., None]), -1)


def draw_maps(
    count: int, flip: float, crop: float, rotation: float, generator: torch.Generator
) -> Tensor:
    """Draw maps (count, 2, 3) for `warp`, as `affine` returns them.

    Each axis is flipped with probability `flip`. The crop's side is uniform from `crop` to 1, at
    any position. The patch is rotated by any angle with probability `rotation`.
    """
    flips = bernoulli(2 * count, flip, generator).view(count, 2)
    scales = uniform(count, crop, 1, generator)
    centres = uniform(2 * count, -1, 1, generator).view(count, 2) * (1 - scales)[:, None]
    angles = uniform(count, 0, 2 * torch.pi, generator) * bernoulli(count, rotation, generator)
    record(flips, "flip")
    record(scales, lambda side: f"crop {100 * side:.0f} %", unless=1)
    record(angles, lambda angle: f"rotate {angle.rad2deg():.0f}°")
    return affine(flips, scales, centres, angles)


def warp(images: Tensor, maps: Tensor, mode: Literal["bilinear", "nearest"] = "bilinear") -> Tensor:
    """Flip, crop and rotate (B, C, S, S) by maps (B, 2, 3) in one interpolation.

    One interpolation is cheaper and sharper than three. Outside the patch, its reflection is used,
    so no black corners reveal a rotation to the network.
    """
    grid = _grid(maps, images.shape[-1])
    return F.grid_sample(images, grid, mode, padding_mode="reflection", align_corners=False)


def rotate_nearest(images: Tensor, angles: Tensor) -> Tensor:
    """Rotate about the centre by (B,) radians: nearest pixel, black outside the patch."""
    maps = F.pad(rotation(angles), (0, 1))
    grid = _grid(maps, images.shape[-1])
    return F.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def crop_resize(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Interpolate (B, C, S, S) bilinearly at source pixels `rows` (B, S) x `columns` (B, S).

    Pixel centres are integers: 0 is the centre of the first pixel, S - 1 of the last.
    """
    side = images.shape[-1]
    grid = torch.empty(len(images), side, side, 2, dtype=images.dtype, device=images.device)
    grid[..., 0] = ((2 * columns + 1) / side - 1)[:, None, :]
    grid[..., 1] = ((2 * rows + 1) / side - 1)[:, :, None]
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def crop_positions(start: Tensor, length: Tensor, flip: Tensor, side: int) -> Tensor:
    """(B, side) source pixels of a crop of whole pixels of a flipped patch, resized to `side`.

    `start` and `length` (B,) are in pixels of the flipped patch. The resize assumes pixel centres
    at half integers and reads nothing outside the crop, as TensorFlow's `resize` of a crop does.
    """
    output = torch.arange(side, dtype=start.dtype, device=start.device) + 0.5
    inside = output * (length / side)[:, None] - 0.5
    inside = torch.minimum(inside.clamp_(min=0), length[:, None] - 1)
    position = start[:, None] + inside
    return torch.where(flip[:, None], side - 1 - position, position)


def _grid(maps: Tensor, side: int) -> Tensor:
    """`affine_grid` as a sum of the contributions of x and y, which is several times faster."""
    coordinates = (2 * torch.arange(side, dtype=maps.dtype, device=maps.device) + 1) / side - 1
    along_x = maps[..., 0:1] * coordinates
    along_y = maps[..., 1:2] * coordinates + maps[..., 2:3]
    grid = torch.empty(len(maps), side, side, 2, dtype=maps.dtype, device=maps.device)
    for axis in (0, 1):
        torch.add(along_x[:, axis, None, :], along_y[:, axis, :, None], out=grid[..., axis])
    return grid
