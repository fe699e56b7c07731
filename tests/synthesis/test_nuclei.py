"""Instances: the pixels of each nucleus."""

import numpy as np
import pytest

from morefromless.synthesis.blobs import Blobs, nearest
from morefromless.synthesis.nuclei import Nuclei, draw_nuclei
from morefromless.synthesis.rng import Floats, Rng, unit
from morefromless.synthesis.texture import FIELD_UM


def random_blobs(count: int, seed: int = 0) -> Blobs:
    rng = np.random.default_rng(seed)
    direction = unit(rng.normal(size=count), rng.normal(size=count))
    return Blobs(
        x=rng.uniform(-5, FIELD_UM + 5, count),
        y=rng.uniform(-5, FIELD_UM + 5, count),
        long=rng.uniform(3, 9, count),
        short=rng.uniform(1, 3, count),
        direction_x=direction[0],
        direction_y=direction[1],
        wave_two=rng.uniform(-0.15, 0.15, count),
        wave_three=rng.uniform(-0.15, 0.15, count),
    )


def nuclei(x: Floats, y: Floats, radius: float) -> Nuclei:
    count = len(x)
    ones, zeros = np.ones(count), np.zeros(count)
    return Nuclei(
        *(x, y, ones * radius, ones * radius, ones, zeros, zeros, zeros),
        kind=np.arange(1, count + 1, dtype=np.uint8),
        density=ones,
        pale=zeros,
        clump=zeros,
    )


@pytest.mark.parametrize("size", [16, 33, 64])
def test_nearest_agrees_with_a_loop_over_pixels_and_angles(size: int) -> None:
    blobs = random_blobs(25, seed=size)
    owner, radius = nearest(blobs, size)
    um = FIELD_UM / size
    for row in range(size):
        for column in range(size):
            best = (1.0, -1)
            for i in range(len(blobs)):
                dx = (column + 0.5) * um - blobs.x[i]
                dy = (row + 0.5) * um - blobs.y[i]
                if dx * dx + dy * dy > 200:
                    continue
                turn = complex(dx, dy) / complex(blobs.direction_x[i], blobs.direction_y[i])
                u, v = turn.real / blobs.long[i], turn.imag / blobs.short[i]
                angle = np.arctan2(v, u)
                wave = blobs.wave_two[i] * np.cos(2 * angle)
                wave += blobs.wave_three[i] * np.cos(3 * angle)
                best = min(best, (np.hypot(u, v) * (1 + wave), i))
            if best[1] >= 0:
                assert owner[row, column] == best[1]
                assert abs(radius[row, column] - best[0]) < 1e-4
            else:
                assert radius[row, column] > 0.9999


def test_round_nucleus_has_the_expected_area_and_centre() -> None:
    drawn = draw_nuclei(Rng(0), nuclei(np.array([40.0]), np.array([70.0]), 12.0), 224)
    row, column = np.nonzero(drawn.instances)
    assert abs(len(row) * 0.25 - np.pi * 144) < 5
    assert abs(column.mean() * 0.5 + 0.25 - 40) < 0.1
    assert abs(row.mean() * 0.5 + 0.25 - 70) < 0.1
    assert abs(drawn.cover.sum() * 0.25 - np.pi * 144) < 5
    assert drawn.instances.dtype == np.uint16


def test_touching_nuclei_are_split_and_hidden_ones_excluded() -> None:
    x = np.array([40.0, 300.0, 52.0])  # the second is outside the patch
    drawn = draw_nuclei(Rng(0), nuclei(x, np.full(3, 56.0), 10.0), 224)
    assert np.unique(drawn.instances).tolist() == [0, 1, 2]
    assert drawn.types.tolist() == [1, 3]
    middle = drawn.instances[112]
    assert set(middle[84:91]) == {1}  # 42-45 µm
    assert set(middle[94:100]) == {2}  # 47-50 µm


def test_without_nuclei_there_are_no_instances() -> None:
    drawn = draw_nuclei(Rng(0), nuclei(np.zeros(0), np.zeros(0), 1.0), 32)
    assert not drawn.instances.any()
    assert not drawn.haematoxylin.any()
    assert drawn.types.shape == (0,)
