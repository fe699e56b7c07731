"""Colour changes against torchvision, colorsys, closed forms and loops over pixels."""

import colorsys

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from morefromless.views import _photometry as photometry


def values(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    # Not close to 0 or 1, because the references clip after every step.
    return 0.3 + 0.3 * torch.rand(3, 3, 8, 8, dtype=torch.float64, generator=generator)


def luma(images: torch.Tensor) -> torch.Tensor:
    return torch.einsum("c,nchw->nhw", values(0.299, 0.587, 0.114), images)


def jitter(images: torch.Tensor, *factors: torch.Tensor) -> torch.Tensor:
    output = torch.empty(images.shape, dtype=images.dtype)
    photometry.map_colours(images, *photometry.colour_maps(*factors), output)
    return output


def test_jitter_without_hue_agrees_with_torchvision(images: torch.Tensor) -> None:
    factors = values(0.9, 1.1, 1.2), values(0.7, 1.1, 1.3), values(0.6, 1.4, 1.2)
    output = jitter(images, *factors, values(0, 0, 0))
    for i, (brightness, contrast, saturation) in enumerate(zip(*factors, strict=True)):
        expected = reference.adjust_brightness(images[i], float(brightness))
        expected = reference.adjust_contrast(expected, float(contrast))
        expected = reference.adjust_saturation(expected, float(saturation))
        # torchvision rounds its weight of red to 0.2989
        torch.testing.assert_close(output[i], expected, rtol=0, atol=2e-4)


def test_hue_keeps_luma_and_half_a_turn_mirrors_the_chroma(images: torch.Tensor) -> None:
    ones = torch.ones(3, dtype=torch.float64)
    turned = jitter(images, ones, ones, ones, values(0.1, -0.3, 0.5))
    torch.testing.assert_close(luma(turned), luma(images), rtol=0, atol=1e-12)
    mirrored = 2 * luma(images)[2] - images[2]
    torch.testing.assert_close(turned[2], mirrored, rtol=0, atol=1e-12)


def test_hue_rotates_in_the_direction_of_hsv(images: torch.Tensor) -> None:
    ones = torch.ones(3, dtype=torch.float64)
    for hue in (0.1, -0.1):
        turned = jitter(images, ones, ones, ones, hue * ones) - images
        expected = torch.stack([reference.adjust_hue(image, hue) for image in images]) - images
        expected -= luma(expected)[:, None]  # HSV does not keep luma
        similarity = torch.cosine_similarity(turned.flatten(), expected.flatten(), dim=0)
        assert similarity > 0.85


def test_grey_stays_grey_and_no_jitter_changes_nothing(images: torch.Tensor) -> None:
    ones, zeros = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    torch.testing.assert_close(jitter(images, ones, ones, ones, zeros), images)
    grey = images[:, :1].expand(-1, 3, -1, -1)
    output = jitter(grey, 1.2 * ones, 0.7 * ones, 1.3 * ones, 0.1 * ones)
    torch.testing.assert_close(output[:, 0], output[:, 1])
    torch.testing.assert_close(output[:, 0], output[:, 2])


def test_solarize_inverts_at_and_above_the_threshold() -> None:
    images = values(0, 0.4, 0.5, 0.9).expand(2, 3, 1, 4)
    output = photometry.solarize(images, values(0.4, 2))
    torch.testing.assert_close(output[0, 0, 0], values(0, 0.6, 0.5, 0.1))
    assert torch.equal(output[1], images[1])


def test_noise_is_added_only_to_the_background() -> None:
    images = torch.full((1, 3, 100, 100), 0.9)
    images[..., :50] = 0.5
    images[0, 1, :, 50:60] = 0.7  # bright but coloured: tissue
    generator = torch.Generator().manual_seed(0)
    change = photometry.noise_on_background(images, 0.02, 0.8, generator) - images
    assert torch.equal(change[..., :60], torch.zeros(1, 3, 100, 60))
    noise = change[..., 60:]
    assert noise.std() == pytest.approx(0.02, rel=0.05)
    assert noise.mean() == pytest.approx(0, abs=0.001)
    channels = np.corrcoef(noise[0].flatten(1).numpy())
    assert np.abs(channels - np.eye(3)).max() < 0.06


def test_zeros_become_uniform_noise_and_nothing_else_changes() -> None:
    images = torch.full((1, 3, 100, 100), 0.5)
    images[:, 1, :50] = 0
    output = photometry.noise_on_zeros(images, torch.Generator().manual_seed(0))
    noise = output[:, 1, :50]
    assert noise.min() >= 0
    assert 250 < noise.max() < 256
    assert noise.mean() == pytest.approx(128, rel=0.03)
    assert noise.std() == pytest.approx(256 / 12**0.5, rel=0.03)
    assert torch.equal(output[:, :, 50:], images[:, :, 50:])
    assert torch.equal(output[:, ::2], images[:, ::2])


def test_contrast_is_relative_to_the_channel_mean(images: torch.Tensor) -> None:
    factors = values(0.6, 1.0, 1.4)
    output = photometry.contrast_by_channel(images, factors)
    for i in range(3):
        for channel in range(3):
            pixels = images[i, channel].numpy()
            expected = (pixels - pixels.mean()) * float(factors[i]) + pixels.mean()
            np.testing.assert_allclose(output[i, channel].numpy(), expected, atol=1e-12)


def test_contrast_comes_after_brightness(images: torch.Tensor) -> None:
    brightness, contrast = values(0.7, 1.1, 1.3), values(0.6, 1.0, 1.4)
    output = photometry.brightness_and_contrast(images, brightness, contrast)
    per_channel = photometry.channel_jitter(
        images, torch.outer(brightness, values(1, 2, 3)), torch.outer(contrast, values(1, 2, 3))
    )
    for i in range(3):
        pixels = float(brightness[i]) * images[i].numpy()
        expected = (pixels - pixels.mean()) * float(contrast[i]) + pixels.mean()
        np.testing.assert_allclose(output[i].numpy(), expected, atol=1e-12)
        for k in range(3):
            pixels = float(brightness[i]) * (k + 1) * images[i, k].numpy()
            expected = (pixels - pixels.mean()) * float(contrast[i]) * (k + 1) + pixels.mean()
            np.testing.assert_allclose(per_channel[i, k].numpy(), expected, atol=1e-12)


def naive_hsv(red: float, green: float, blue: float, saturation: float, hue: float):
    """Saturation, then hue, for any range of values; saturation is 0 if V is not positive."""
    value, low = max(red, green, blue), min(red, green, blue)
    if value <= 0 or value == low:
        return value, value, value
    # An affine change of the colour keeps the hue, so it is computed within the range.
    h, _, _ = colorsys.rgb_to_hsv(*((c - low) / (value - low) for c in (red, green, blue)))
    s = min(1.0, (value - low) / value * saturation)
    return colorsys.hsv_to_rgb((h + hue) % 1, s, value)


@pytest.mark.parametrize("offset", [0, -100, -400])
def test_hsv_agrees_with_a_loop_over_pixels(offset: float) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, 6, 6), generator=generator).double() + offset
    images[:, :, 0, 0] = 80  # grey
    images[:, :2, 0, 1] = 300  # two channels share the maximum
    saturation, hue = values(0.6, 1.0, 1.4), values(-0.1, 0.04, 0.1)
    output = photometry.saturation_and_hue(images, saturation, hue)
    for i in range(3):
        for row in range(6):
            for column in range(6):
                pixel = images[i, :, row, column].tolist()
                expected = naive_hsv(*pixel, float(saturation[i]), float(hue[i]))
                np.testing.assert_allclose(output[i, :, row, column].numpy(), expected, atol=1e-9)


def test_hsv_hue_agrees_with_torchvision(images: torch.Tensor) -> None:
    output = photometry.saturation_and_hue(images, values(1, 1, 1), values(0.1, -0.07, 0.02))
    for i, hue in enumerate((0.1, -0.07, 0.02)):
        torch.testing.assert_close(
            output[i], reference.adjust_hue(images[i], hue), rtol=0, atol=1e-6
        )
