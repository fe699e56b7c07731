"""Windows: every pixel is in one output, and nuclei return to the patch's grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morefromless.hovernet.windows import (
    MARGIN,
    OUTPUT,
    WINDOW,
    rescale,
    split,
    stitch,
    to_grid,
)


@settings(max_examples=15)
@given(st.integers(1, 400), st.integers(1, 400))
def test_middles_of_windows_form_the_image(height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    windows = split(image)
    assert windows.shape[1:] == (WINDOW, WINDOW, 3)
    assert len(windows) == -(-height // OUTPUT) * -(-width // OUTPUT)
    middles = windows[:, MARGIN:-MARGIN, MARGIN:-MARGIN].astype(np.float32)
    np.testing.assert_array_equal(stitch(middles, (height, width)), image)


def test_windows_reflect_the_image_at_its_border() -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    first = split(image)[0]
    np.testing.assert_array_equal(first[:MARGIN, MARGIN:], image[:MARGIN, : WINDOW - MARGIN][::-1])


def test_scaling_keeps_the_mean_and_gives_the_requested_size() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    assert rescale(image, 1) is image
    assert rescale(image, 2).shape == (80, 120, 3)
    assert rescale(image, 0.5).shape == (20, 30, 3)
    assert rescale(image, 0.5).mean() == pytest.approx(image.mean(), abs=1)


def test_nuclei_return_to_their_positions() -> None:
    instances = np.zeros((20, 20), np.int32)
    instances[2:6, 3:9], instances[10:15, 10:15] = 1, 2
    large = instances.repeat(2, 0).repeat(2, 1)
    restored, dropped = to_grid(large, (20, 20))
    np.testing.assert_array_equal(restored, instances)
    assert dropped == 0


def test_tiny_nucleus_keeps_a_pixel_if_it_is_free() -> None:
    large = np.zeros((40, 40), np.int32)
    large[8, 8] = 7  # between the centres of a grid of 10 x 10
    large[20:24, 20:24], large[20, 20] = 3, 9
    restored, dropped = to_grid(large, (10, 10))
    assert restored[2, 2] == 7
    assert restored[5, 5] == 3
    assert (restored == 9).sum() == 0
    assert dropped == 1
