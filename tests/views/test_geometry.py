"""Flip, crop and rotation against float64 loops and against torch's flips and slices."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from morefromless.views import _geometry as geometry

SIDE = 9


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(
        4, 3, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )


def values(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def naive_warp(image, flip_x, flip_y, scale, centre, angle):
    """Loop over output pixels: source position, reflection, bilinear interpolation."""
    side = image.shape[-1]
    result = np.zeros_like(image)
    for row in range(side):
        for column in range(side):
            x, y = (2 * column + 1) / side - 1, (2 * row + 1) / side - 1
            from_x = centre[0] + scale * (x * math.cos(angle) - y * math.sin(angle))
            from_y = centre[1] + scale * (x * math.sin(angle) + y * math.cos(angle))
            positions = []
            for position in (-from_x if flip_x else from_x, -from_y if flip_y else from_y):
                pixels = (position + 1) / 2 * side  # 0 and `side` are the outer edges
                pixels = abs(pixels) % (2 * side)
                pixels = min(pixels, 2 * side - pixels)
                positions.append(min(max(pixels - 0.5, 0), side - 1))
            (px, py), (x0, y0) = positions, map(math.floor, positions)
            x1, y1 = min(x0 + 1, side - 1), min(y0 + 1, side - 1)
            wx, wy = px - x0, py - y0
            above = (1 - wx) * image[:, y0, x0] + wx * image[:, y0, x1]
            below = (1 - wx) * image[:, y1, x0] + wx * image[:, y1, x1]
            result[:, row, column] = (1 - wy) * above + wy * below
    return result


def test_warp_agrees_with_a_naive_loop(images: torch.Tensor) -> None:
    flips = torch.tensor([[False, False], [True, False], [False, True], [True, True]])
    scales, angles = values(1, 0.8, 0.75, 0.9), values(0.3, 2.0, 4.4, 6.0)
    centres = torch.tensor([[0, 0], [0.2, -0.1], [-0.25, 0.25], [0.05, 0.1]], dtype=torch.float64)
    output = geometry.warp(images, geometry.affine(flips, scales, centres, angles))
    for i in range(4):
        drawn = (*flips[i].tolist(), scales[i].item(), centres[i].tolist(), angles[i].item())
        expected = naive_warp(images[i].numpy(), *drawn)
        np.testing.assert_allclose(output[i].numpy(), expected, atol=1e-12)


def test_warp_without_crop_and_angle_is_a_flip(images: torch.Tensor) -> None:
    flips = torch.tensor([[False, False], [True, False], [False, True], [True, True]])
    ones, middle = torch.ones(4).double(), torch.zeros(4, 2).double()
    maps = geometry.affine(flips, ones, middle, 0 * ones)
    output = geometry.warp(images, maps)
    for i, dims in enumerate([(), (2,), (1,), (1, 2)]):
        torch.testing.assert_close(output[i], images[i].flip(dims))


def test_positive_angles_turn_anticlockwise(images: torch.Tensor) -> None:
    quarter = torch.full((4,), math.pi / 2, dtype=torch.float64)
    unflipped = torch.zeros(4, 2, dtype=torch.bool)
    ones, middle = torch.ones(4).double(), torch.zeros(4, 2).double()
    expected = images.rot90(1, (2, 3))
    torch.testing.assert_close(
        geometry.warp(images, geometry.affine(unflipped, ones, middle, quarter)), expected
    )
    torch.testing.assert_close(geometry.rotate_nearest(images, quarter), expected)


def test_nearest_rotation_agrees_with_a_naive_loop(images: torch.Tensor) -> None:
    angles = values(0.1, 0.7, 1.9, 3.0)
    output = geometry.rotate_nearest(images, angles)
    middle = (SIDE - 1) / 2
    for i, angle in enumerate(angles.tolist()):
        expected = torch.zeros_like(images[i])
        for row in range(SIDE):
            for column in range(SIDE):
                x, y = column - middle, row - middle
                from_x = round(middle + x * math.cos(angle) - y * math.sin(angle))
                from_y = round(middle + x * math.sin(angle) + y * math.cos(angle))
                if 0 <= from_x < SIDE and 0 <= from_y < SIDE:
                    expected[:, row, column] = images[i, :, from_y, from_x]
        assert torch.equal(output[i], expected)


def test_an_eighth_of_a_turn_leaves_17_percent_black() -> None:
    black = geometry.rotate_nearest(torch.ones(1, 1, 224, 224), torch.tensor([math.pi / 4])) == 0
    assert black.float().mean() == pytest.approx(1 - (2 * math.sqrt(2) - 2), abs=0.01)


def test_crops_are_cut_out_and_resized(images: torch.Tensor) -> None:
    cuts = [(0, 9, 0, 9), (1, 8, 2, 7), (3, 6, 0, 8), (2, 7, 1, 7)]  # top, height, left, width
    flips = torch.tensor([[False, False], [False, False], [True, False], [True, True]])
    top, height, left, width = (values(*numbers) for numbers in zip(*cuts, strict=True))
    rows = geometry.crop_positions(top, height, flips[:, 0], SIDE)
    columns = geometry.crop_positions(left, width, flips[:, 1], SIDE)
    output = geometry.crop_resize(images, rows, columns)
    for i, (t, h, x, w) in enumerate(cuts):
        dims = [d for d, flip in ((1, flips[i, 0]), (2, flips[i, 1])) if flip]
        cut = images[i].flip(dims)[None, :, t : t + h, x : x + w]
        expected = F.interpolate(cut, size=(SIDE, SIDE), mode="bilinear")[0]
        torch.testing.assert_close(output[i], expected)
