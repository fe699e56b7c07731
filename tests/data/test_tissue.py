"""Tissue is found on glass, regardless of ink next to it."""

from pathlib import Path

import numpy as np
import pytest

from morefromless.data.slide_readers import open_slide
from morefromless.data.tissue import coverage, find_tissue, tissue_mask, tissue_tiles
from tests.data.slides import INK, drawn, write_ome


def test_tissue_is_detected_and_ink_is_not() -> None:
    image = drawn(256)
    mask = tissue_mask(image)
    y, x = np.mgrid[:256, :256] / 256
    truth = (x - 0.35) ** 2 + (y - 0.35) ** 2 < 0.09
    assert (mask & truth).sum() / (mask | truth).sum() > 0.95


@pytest.mark.parametrize("colour", [(244, 244, 244), (240, 236, 231), *INK.values()])
def test_an_empty_slide_has_no_tissue(colour: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(0).normal(0, 2, (64, 64, 3))
    assert not tissue_mask(np.uint8(np.clip(np.array(colour) + noise, 0, 255))).any()


def test_a_slide_full_of_tissue_is_all_tissue() -> None:
    assert tissue_mask(drawn(256)[60:110, 60:110]).all()


def test_tiles_are_on_a_grid_and_contain_tissue(tmp_path: Path) -> None:
    image = drawn(1024)
    slide = open_slide(write_ome(tmp_path / "a.ome.tif", image, um_per_px=4.0))
    tissue = find_tissue(slide)
    corners = tissue_tiles(slide, tissue, side=32, um_per_px=8.0, share=0.5)
    assert (corners % 64 == 0).all()
    y, x = np.mgrid[:1024, :1024] / 1024
    truth = (x - 0.35) ** 2 + (y - 0.35) ** 2 < 0.09
    shares = truth.reshape(16, 64, 16, 64).mean((1, 3))
    selected = np.zeros((16, 16), bool)
    selected[corners[:, 1] // 64, corners[:, 0] // 64] = True
    assert selected[shares > 0.55].all()
    assert not selected[shares < 0.45].any()


def test_coverage_is_the_mean_of_a_square() -> None:
    mask = np.random.default_rng(0).random((40, 50)) < 0.3
    corners = np.array([[0.0, 0.0], [10.4, 5.2], [44.0, 34.0]])
    expected = [mask[0:8, 0:8].mean(), mask[5:13, 10:18].mean(), mask[34:40, 44:50].mean()]
    assert coverage(mask, corners, 8.0) == pytest.approx(expected)
