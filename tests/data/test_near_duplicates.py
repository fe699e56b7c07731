"""Near-duplicates are found for all kinds of edited copies; different patches are not."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageEnhance
from scipy import ndimage

from morefromless.data import near_duplicates as module
from morefromless.data.near_duplicates import (
    FULL_DETAIL,
    SIDE,
    difference_hash,
    near_duplicates,
    thumbnail,
    thumbnails,
)

Pixels = npt.NDArray[np.uint8]


def tissue(count: int, side: int = 64, seed: int = 0, size: float = 5) -> Pixels:
    """Smooth noise with structures of a given size in px."""
    noise = np.random.default_rng(seed).normal(size=(count, side, side, 3))
    smooth = ndimage.gaussian_filter(noise, (0, size, size, 0))
    return (160 + 40 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)


def as_thumbnails(images: Pixels, detail: int = FULL_DETAIL) -> npt.NDArray[np.float32]:
    return thumbnails(images, np.arange(len(images)), detail)


def as_jpeg(image: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=40)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize(
    "change",
    [
        as_jpeg,
        lambda image: np.asarray(ImageEnhance.Brightness(Image.fromarray(image)).enhance(1.15)),
        lambda image: np.asarray(Image.fromarray(image).resize((150, 150))),
        lambda image: np.roll(image, 1, axis=1),
        lambda image: np.rot90(image)[:, ::-1],
        lambda image: as_jpeg(np.ascontiguousarray(np.rot90(image, 3))),
    ],
)
def test_changed_copies_are_recognised(change: object) -> None:
    assert callable(change)
    images = tissue(40)
    copies = np.stack([change(image) for image in images[10:20]])
    result = near_duplicates(as_thumbnails(copies), as_thumbnails(images))
    assert result.rows.tolist() == list(range(10))
    assert result.others.tolist() == list(range(10, 20))


@pytest.mark.parametrize("side", [32, 21, 14])
def test_copies_of_fewer_pixels_are_recognised(side: int) -> None:
    images = tissue(40, size=1)
    copies = np.stack([np.asarray(Image.fromarray(i).resize((side, side))) for i in images[10:20]])
    result = near_duplicates(as_thumbnails(copies, side), as_thumbnails(images, side))
    assert result.rows.tolist() == list(range(10))
    assert result.others.tolist() == list(range(10, 20))


@pytest.mark.parametrize("block", [module.BLOCK, 7])
def test_most_similar_patch_is_named_for_any_rotation(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    glass = np.full((1, 64, 64, 3), 240, np.uint8)
    images = tissue(8)
    recompressed = np.stack([as_jpeg(image) for image in images])
    rotated = [np.rot90(image, number % 4) for number, image in enumerate(images)]
    copies = np.stack([*rotated[:4], *(image[:, ::-1] for image in rotated[4:])])
    result = near_duplicates(
        as_thumbnails(copies),
        as_thumbnails(np.concatenate([glass, recompressed, images, recompressed])),
    )
    assert result.rows.tolist() == list(range(8))
    assert result.others.tolist() == list(range(9, 17))
    np.testing.assert_allclose(result.correlations, 1, atol=1e-6)


def test_correlation_below_the_threshold_is_not_a_duplicate() -> None:
    images = tissue(40).astype(np.float64)
    mixed = images + 0.4 * (tissue(40, seed=1) - 160.0)
    first, second = (
        as_thumbnails(images.astype(np.uint16)),
        as_thumbnails(mixed.clip(0).astype(np.uint16)),
    )
    different = difference_hash(first) ^ difference_hash(second)
    candidates = [row for row, bits in enumerate(different) if int(bits).bit_count() <= 10]
    correlations = {n: np.corrcoef(first[n].ravel(), second[n].ravel())[0, 1] for n in candidates}
    result = near_duplicates(second, first)
    assert result.rows.tolist() == [row for row in candidates if correlations[row] >= 0.95]
    assert 0 < len(result.rows) < len(candidates)


def test_different_patches_and_glass_are_not_duplicates() -> None:
    glass = np.random.default_rng(0).integers(238, 242, (30, 64, 64, 3), np.uint8)
    images = np.concatenate([tissue(100), glass])
    other_images = np.concatenate([tissue(100, seed=1), glass])
    assert not len(near_duplicates(as_thumbnails(images), as_thumbnails(other_images)).rows)
    assert not len(near_duplicates(as_thumbnails(images[:0]), as_thumbnails(other_images)).rows)


@pytest.mark.parametrize(
    ("side", "count", "channels", "dtype"),
    [(64, SIDE, 3, np.uint8), (512, SIDE, 3, np.uint16), (258, 1, 1, np.uint8)],
)
def test_thumbnails_are_exact_means(
    side: int, count: int, channels: int, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SIDE", count)
    top = np.iinfo(dtype).max
    image = np.random.default_rng(0).integers(top - 1, top, (side, side, channels), dtype, True)
    step = side // count
    sums = image.reshape(count, step, count, step, channels).sum((1, 3, 4))
    expected = sums.astype(np.float32) / np.float32(step * step * channels)
    np.testing.assert_array_equal(thumbnail(image), expected)


def test_thumbnail_changes_only_for_low_detail() -> None:
    for image in (tissue(1, side=side, size=1)[0] for side in (40, 128, 150)):
        np.testing.assert_array_equal(thumbnail(image, 100), thumbnail(image))
        assert not np.allclose(thumbnail(image, 36), thumbnail(image), atol=1)
        assert thumbnail(image, 36).mean() == pytest.approx(image.mean(), rel=1e-4)


def test_hashes_follow_their_definition() -> None:
    images = tissue(3, side=32)
    for image, value in zip(images, difference_hash(as_thumbnails(images)), strict=True):
        rows = image.mean(2).reshape(8, 4, 32).mean(1)
        fine = np.repeat(rows, 9, axis=1).reshape(8, 9, 32).mean(2)  # ninths of the side
        assert np.packbits(fine[:, 1:] > fine[:, :-1]).tobytes() == value.tobytes()
