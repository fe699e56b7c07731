"""All presets: reproducible draws, separate for each patch, in range, with the right frequency."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from morefromless import views
from morefromless.errors import ConfigError
from morefromless.specs import build
from morefromless.views import Views, _draws, _geometry, recording
from morefromless.views.authors import Authors
from morefromless.views.plain import Plain
from morefromless.views.stain import Stain
from morefromless.views.table_s1 import TableS1

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
PRESETS = [TableS1(), Authors()]
OFF = {"flip": 0, "crop": 1, "noise": 0, "rotation": 0, "solarize": 0, "jitter": 0}
N = 2000


def seeded(seed: int, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def tissue(count: int = 6, side: int = 24) -> Tensor:
    """Smooth coloured patches with a bright corner, so that every augmentation shows."""
    coarse = 0.2 + 0.6 * torch.rand(count, 3, 5, 5, generator=seeded(7))
    patches = torch.nn.functional.interpolate(coarse, side, mode="bilinear")
    patches[..., : side // 4, : side // 4] = 0.95
    return patches


def share_changed(preset: Views, patches: Tensor) -> float:
    drawn = preset.augment(patches, seeded(3))
    return float(((drawn - patches).abs().amax((1, 2, 3)) > 1e-3).float().mean())


def is_binomial(share: float, probability: float) -> bool:
    """Within four standard deviations."""
    return abs(share - probability) <= 4 * math.sqrt(probability * (1 - probability) / N)


def test_plain_copies() -> None:
    patches = tissue()
    drawn = Plain().augment(patches, seeded(0))
    assert torch.equal(drawn, patches)
    assert drawn.data_ptr() != patches.data_ptr()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: type(preset).__name__)
class TestEveryPreset:
    def test_same_generator_state_gives_the_same_views(self, preset, device) -> None:
        patches = tissue().to(device)
        first = preset.augment(patches, seeded(0, device))
        assert torch.equal(preset.augment(patches, seeded(0, device)), first)
        assert not torch.allclose(preset.augment(patches, seeded(1, device)), first, atol=0.05)

    def test_same_patch_gets_different_views_in_a_batch(self, preset, device) -> None:
        patches = tissue(1).expand(12, -1, -1, -1).to(device)
        drawn = preset.augment(patches, seeded(0, device)).flatten(1)
        distances = torch.cdist(drawn, drawn) + 9 * torch.eye(12, device=device)
        assert distances.min() > 0.5

    def test_output_has_shape_and_range_and_input_is_unchanged(self, preset, device) -> None:
        patches = tissue(40, 17).to(device)
        patches[0], patches[1] = 0, 1
        before = patches.clone()
        drawn = preset.augment(patches, seeded(0, device))
        assert torch.equal(patches, before)
        assert (drawn.shape, drawn.dtype, drawn.device) == (
            before.shape,
            torch.float32,
            before.device,
        )
        assert drawn.is_contiguous()
        assert drawn.min() >= 0
        assert drawn.max() <= 1

    def test_autocast_changes_nothing(self, preset, device) -> None:
        patches = tissue().to(device)
        expected = preset.augment(patches, seeded(0, device))
        with torch.autocast(device, dtype=torch.bfloat16):
            assert torch.equal(preset.augment(patches, seeded(0, device)), expected)

    def test_all_off_changes_nothing(self, preset, device) -> None:
        patches = tissue().to(device)
        drawn = type(preset)(**OFF).augment(patches, seeded(0, device))
        torch.testing.assert_close(drawn, patches, rtol=0, atol=1e-5)


@pytest.mark.parametrize("preset", [TableS1, Authors])
def test_block_size_and_device_path_change_nothing(preset, monkeypatch) -> None:
    # Without noise, which is drawn per block.
    patches, preset = tissue(20), preset(noise=0)
    expected = preset.augment(patches, seeded(0))
    monkeypatch.setattr(_draws, "_BLOCK_PIXELS", 3 * 24 * 24)
    torch.testing.assert_close(preset.augment(patches, seeded(0)), expected, rtol=0, atol=1e-5)
    monkeypatch.setattr(_draws, "_SYNCHRONOUS_DEVICES", ())  # as on a GPU
    torch.testing.assert_close(preset.augment(patches, seeded(0)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("answers", [("cpu",), ()])
@pytest.mark.parametrize(
    ("preset", "option", "probability"),
    [
        (TableS1, "noise", 0.3),
        (TableS1, "rotation", 0.4),
        (TableS1, "solarize", 0.3),
        (TableS1, "jitter", 0.6),
        (Authors, "noise", 0.3),
        (Authors, "rotation", 0.4),
        (Authors, "solarize", 0.3),
        (Authors, "jitter", 0.6),
    ],
)
def test_probabilities_hold(preset, option: str, probability: float, answers, monkeypatch) -> None:
    monkeypatch.setattr(_draws, "_SYNCHRONOUS_DEVICES", answers)
    patches = torch.rand(1, 3, 24, 24, generator=seeded(0)).expand(N, -1, -1, -1).clone()
    patches[..., 0, :2] = 1  # background, at any threshold
    patches[..., 1, :2] = 0  # a mask's background
    assert is_binomial(share_changed(preset(**OFF | {option: probability}), patches), probability)
    assert share_changed(preset(**OFF | {option: 0}), patches) == 0
    assert share_changed(preset(**OFF | {option: 1}), patches) > 0.97  # small angles


@pytest.mark.parametrize("preset", [TableS1, Authors])
def test_axes_are_flipped_independently_half_the_time(preset) -> None:
    ramp = torch.linspace(0, 1, 8).expand(N, 8, 8)
    patches = torch.stack((ramp, ramp.mT, ramp), 1)
    drawn = preset(**OFF | {"flip": 0.5}).augment(patches, seeded(0))
    in_x, in_y = drawn[:, 0, 0, 0] > 0.5, drawn[:, 1, 0, 0] > 0.5
    for flipped in (in_x, in_y, in_x ^ in_y):
        assert is_binomial(float(flipped.float().mean()), 0.5)


def crops(preset: Views, side: int = 40) -> tuple[Tensor, Tensor]:
    """Kept shares of width and height, measured on ramps."""
    ramp = ((torch.arange(side) + 0.5) / side).expand(N, side, side)
    drawn = preset.augment(torch.stack((ramp, ramp.mT, ramp), 1), seeded(0))
    middle, quarter = slice(side // 4, 3 * side // 4), side // 4
    slope = side / (2 * quarter - 1)
    width, height = drawn[:, 0, 0, middle], drawn[:, 1, middle, 0]
    return (width[:, -1] - width[:, 0]) * slope, (height[:, -1] - height[:, 0]) * slope


def test_table_s1_crops_a_square_of_75_to_100_percent_of_the_side() -> None:
    width, height = crops(TableS1(**OFF | {"crop": 0.75}))
    torch.testing.assert_close(width, height, rtol=0, atol=1e-4)
    assert width.min() == pytest.approx(0.75, abs=0.005)
    assert width.max() == pytest.approx(1, abs=0.005)
    assert width.mean() == pytest.approx(0.875, abs=0.01)


def test_authors_crop_height_and_width_independently() -> None:
    width, height = crops(Authors(**OFF | {"crop": 0.75}))
    for share in (width, height):
        assert share.min() == pytest.approx(0.75, abs=0.005)
        assert share.max() <= 1
        assert share.mean() == pytest.approx(0.875 - 0.5 / 40, abs=0.01)  # whole pixels, floored
    assert abs(torch.corrcoef(torch.stack((width, height)))[0, 1]) < 0.1


def test_crops_reach_both_edges() -> None:
    ramp = torch.arange(40).expand(N, 3, 40, 40) / 255
    drawn = Authors(**OFF | {"crop": 0.75}).augment(ramp, seeded(0))[:, 0, 0] * 255
    cut = drawn[drawn[:, -1] - drawn[:, 0] < 38]
    assert cut[:, 0].min() == pytest.approx(0, abs=1e-3)
    assert cut[:, -1].max() == pytest.approx(39, abs=1e-3)


def test_table_s1_rotates_fully_and_authors_by_half_a_turn() -> None:
    maps = _geometry.draw_maps(N, 0, 1, 1, seeded(0))
    for side in (maps[:, 0, 0] > 0, maps[:, 1, 0] > 0):  # cosine and sine
        assert is_binomial(float(side.float().mean()), 0.5)
    ramp = torch.linspace(0.2, 0.8, 16).expand(200, 3, 16, 16)
    drawn = Authors(**OFF | {"rotation": 1}).augment(ramp, seeded(0))[:, 0, 4:12, 4:12]
    # An anticlockwise rotation moves the bright right side to the upper half.
    assert (drawn[:, :4].mean((1, 2)) - drawn[:, 4:].mean((1, 2))).min() > -0.02


def test_table_s1_leaves_no_black_corner() -> None:
    patches = torch.full((50, 3, 32, 32), 0.6)
    drawn = TableS1(**OFF | {"rotation": 1, "crop": 0.75}).augment(patches, seeded(0))
    torch.testing.assert_close(drawn, patches)


def test_authors_solarize_is_full_inversion_of_tissue_and_of_labels() -> None:
    preset = Authors(**OFF | {"solarize": 1})
    patches = tissue()
    torch.testing.assert_close(preset.augment(patches, seeded(0)), 1 - patches, rtol=0, atol=1e-5)
    labels = torch.arange(6).view(1, 1, 1, 6).expand(1, 3, 6, 6) / 255
    drawn = (255 * preset.augment(labels, seeded(0))).round()
    assert drawn[0, 0, 0].tolist() == [0, 254, 253, 252, 251, 250]


def test_authors_do_not_invert_or_add_noise_to_channels() -> None:
    images = torch.full((N, 5, 8, 8), 0.3)
    images[..., :3] = 0
    drawn = Authors(rotation=0).augment_channels(images, seeded(0))
    assert drawn.min() >= 0
    assert drawn.max() <= 0.3 + 1e-6


def test_authors_rotate_with_black_corners_after_the_noise() -> None:
    preset = Authors(**OFF | {"rotation": 1, "noise": 1})
    drawn = preset.augment(torch.full((200, 3, 32, 32), 0.6), seeded(0))
    black = (drawn == 0).float().mean((1, 2, 3))
    assert black.max() == pytest.approx(0.17, abs=0.02)
    assert (black > 0.02).float().mean() > 0.8
    assert set(drawn.unique().mul(100).round().tolist()) == {0, 60}


def test_authors_brightness_is_a_fifth_of_a_grey_level_on_average() -> None:
    # Grey and constant: contrast, saturation and hue have no effect.
    patches = torch.full((N, 3, 2, 2), 0.5)
    change = 255 * (Authors(**OFF | {"jitter": 1}).augment(patches, seeded(0)) - patches)
    assert change.abs().max() == pytest.approx(0.4, abs=0.005)
    assert change.abs().mean() == pytest.approx(0.2, abs=0.01)


def test_authors_turn_the_hue_by_up_to_a_tenth_of_a_turn() -> None:
    red, green, blue = (
        Authors(**OFF | {"jitter": 1})
        .augment(torch.tensor([0.8, 0.4, 0.4])[:, None, None].expand(N, 3, 2, 2), seeded(0))
        .mean((2, 3))
        .unbind(1)
    )
    sixths = (green - blue) / (red - torch.minimum(green, blue))
    assert sixths.abs().max() == pytest.approx(0.6, abs=0.01)
    assert sixths.abs().mean() == pytest.approx(0.3, abs=0.03)


def test_brightness_factors_are_symmetric() -> None:
    patches = torch.full((N, 3, 2, 2), 0.5)
    for colours in ({}, {"saturation": 0, "hue": 0}):
        preset = TableS1(**OFF | {"jitter": 1, **colours})
        change = preset.augment(patches, seeded(0)).mean((1, 2, 3)) / 0.5 - 1
        assert change.abs().max() == pytest.approx(0.4, abs=0.005)
        assert change.mean() == pytest.approx(0, abs=0.03)


def test_table_s1_inverts_above_a_threshold_from_a_half_to_one() -> None:
    preset = TableS1(**OFF | {"solarize": 1})
    assert share_changed(preset, torch.full((N, 3, 2, 2), 0.45)) == 0
    assert is_binomial(share_changed(preset, torch.full((N, 3, 2, 2), 0.75)), 0.5)


def test_changes_of_stain_concentrations_are_symmetric() -> None:
    patches = torch.tensor([0.6, 0.3, 0.5])[:, None, None].expand(N, 3, 2, 2)
    for option, maximum in (("spread", 0.25), ("shift", 0.05)):
        preset = Stain(flip=0, crop=1, rotation=0, **{"spread": 0, "shift": 0, option: maximum})
        change = preset.augment(patches, seeded(0)).log() - patches.log()
        assert change.std() > 0.02
        assert change.mean() == pytest.approx(0, abs=0.01)


def test_probabilities_are_those_of_table_s1() -> None:
    published = {"flip": 0.5, "crop": 0.75, "noise": 0.3, "rotation": 0.4, "solarize": 0.3}
    for preset in PRESETS:
        assert vars(preset).items() >= {**published, "jitter": 1.0}.items()


def test_spec_builds_the_preset() -> None:
    preset = build("table-s1:solarize=0,rotation=0.4,hue=0.05", views, Views)
    assert preset == TableS1(solarize=0, rotation=0.4, hue=0.05)
    assert build("authors", views, Views) == Authors()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("table-s1:noise=1.5", "noise=1.5; choose a value from 0 to 1"),
        ("table-s1:crop=0", "crop=0.0; choose"),
        ("table-s1:hue=0.7", "from 0 to 0.5"),
        ("authors:flip=-1", "flip=-1.0"),
        ("authors:rotation=nan", "rotation=nan"),
    ],
)
def test_invalid_values_are_named(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(spec, views, Views)


@pytest.mark.parametrize("preset", [TableS1(), Authors(), Stain()])
def test_recorded_words_describe_the_views(preset: Views) -> None:
    patches = tissue(60)
    unrecorded = preset.augment(patches, seeded(3))
    with recording(60) as words:
        drawn = preset.augment(patches, seeded(3))
    assert torch.equal(drawn, unrecorded)  # recording draws no random numbers
    assert {word.split()[0] for patch in words for word in patch} >= {"flip", "crop"}
    geometry = [[w for w in patch if w.split()[0] in ("flip", "rotate")] for patch in words]
    assert any(geometry)
    assert not all(geometry)


@pytest.mark.parametrize("option", ["noise", "solarize", "jitter", "rotation", "flip"])
def test_words_are_recorded_only_for_changed_patches(option: str) -> None:
    patches = tissue(60)
    patches[..., 0, :2] = 1  # above any threshold
    preset = TableS1(**{**OFF, option: 0.5, "background": 0.3, "threshold": 0})
    with recording(60) as words:
        drawn = preset.augment(patches, seeded(3))
    changed = ((drawn - patches).abs().amax((1, 2, 3)) > 1e-3).tolist()
    assert [bool(patch) for patch in words] == changed
    assert 10 < sum(changed) < 55


def test_recorded_crop_is_the_drawn_crop() -> None:
    ramp = ((torch.arange(40) + 0.5) / 40).expand(30, 3, 40, 40)
    with recording(30) as words:
        drawn = TableS1(**{**OFF, "crop": 0.5}).augment(ramp, seeded(3))
    widths = (drawn[:, 0, 0, 30] - drawn[:, 0, 0, 10]) * 2
    assert [f"crop {100 * share:.0f} %" for share in widths.tolist()] == [w for [w] in words]


def test_recorded_words_describe_vectors() -> None:
    with recording(3) as words:
        drawn = TableS1(drop=0.2).augment_vectors(torch.ones(3, 900), seeded(0))
    shares = (drawn == 0).float().mean(1).tolist()
    assert words == [["noise", f"drop {100 * share:.0f} %"] for share in shares]
    assert np.mean(shares) == pytest.approx(0.2, abs=0.05)
    assert drawn[drawn != 0].mean() == pytest.approx(1, abs=0.02)  # not rescaled
