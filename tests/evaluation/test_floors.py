"""Floors: colour features against plain numpy, and the differences that each floor detects."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morefromless.data.store import Store
from morefromless.evaluation.floors import (
    colour_histogram,
    floor_probabilities,
    majority,
    mean_rgb,
    modality_colours,
    random_forest,
)
from morefromless.pairs import build_modality
from tests.real import real


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """More than one chunk of 16 MB, the last one partial."""
    return np.random.default_rng(0).integers(0, 256, (270, 160, 150, 3), np.uint8)


def test_mean_rgb_is_the_mean(images: np.ndarray) -> None:
    expected = images.reshape(270, -1, 3).mean(1) / 255
    np.testing.assert_allclose(mean_rgb(images), expected, rtol=1e-6)


def test_colour_histogram_is_the_joint_histogram(images: np.ndarray) -> None:
    rows = [1, 200, 269]
    histograms = colour_histogram(images[rows])
    assert histograms.shape == (3, 512)
    for row, histogram in zip(rows, histograms, strict=True):
        # A value v falls into bin floor(v · 8 / 256).
        expected, _ = np.histogramdd(images[row].reshape(-1, 3), 8, [(0, 256)] * 3)
        np.testing.assert_allclose(histogram, expected.ravel() / (160 * 150), rtol=1e-6)


def test_colour_histogram_covers_all_chunks(images: np.ndarray) -> None:
    histograms = colour_histogram(images)
    np.testing.assert_array_equal(
        histograms[[1, 269]], colour_histogram(images, np.array([1, 269]))
    )
    np.testing.assert_allclose(histograms.sum(1), 1, rtol=1e-5)


def test_colours_are_read_at_the_resolution_of_the_modality(tissue: Store) -> None:
    stored = np.asarray(tissue.array("he"), np.float64)
    means = stored.reshape(180, 4, 8, 4, 8, 3).mean((2, 4))
    colours = modality_colours(tissue, build_modality("downsample:4"))
    assert colours.shape == (180, 4, 4, 3)
    assert np.abs(colours - means).max() <= 0.501


def test_images_may_be_memory_mapped(tmp_path: Path, images: np.ndarray) -> None:
    np.save(tmp_path / "he.npy", images[:20])
    stored = np.load(tmp_path / "he.npy", mmap_mode="r")
    np.testing.assert_array_equal(mean_rgb(stored), mean_rgb(images[:20]))
    rows = np.array([4, 7])
    np.testing.assert_array_equal(colour_histogram(stored, rows), colour_histogram(images, rows))


def two_class_images(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """300 images of two classes that differ in the mean, spread or position of their colours."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=300)
    images = np.full((300, 16, 16, 3), 128)
    if kind == "mean":
        images += 10 * labels[:, None, None, None]
    dark_half = np.arange(256).reshape(16, 16) < 128
    for image, label in zip(images, labels, strict=True):
        if kind == "spread":
            image[dark_half] -= 20 + 60 * label
            image[~dark_half] += 20 + 60 * label
        elif kind == "place":
            half = dark_half if label else dark_half.T
            image[half] -= 60
            image[~half] += 60
    images += rng.integers(-10, 11, (300, 1, 1, 3))
    return images.astype(np.uint8), labels


@pytest.mark.parametrize(
    ("kind", "by_mean", "by_histogram"),
    [("mean", True, True), ("spread", False, True), ("place", False, False)],
)
def test_floors_detect_only_differences_of_colour(
    kind: str, by_mean: bool, by_histogram: bool
) -> None:
    images, labels = two_class_images(kind)
    train, test = np.arange(200), np.arange(200, 300)
    for features_of, detected in ((mean_rgb, by_mean), (colour_histogram, by_histogram)):
        colours = features_of(images)
        probabilities = random_forest(colours[train], labels[train], colours[test], classes=2)
        accuracy = (probabilities.argmax(1) == labels[test]).mean()
        assert accuracy > 0.65 if detected else accuracy < 0.65, (features_of, accuracy)


def test_majority_predicts_training_class_frequencies() -> None:
    probabilities = majority([0, 2, 2, 2], test_patches=3, classes=4)
    np.testing.assert_array_equal(probabilities, [[0.25, 0, 0.75, 0]] * 3)


def test_forest_is_deterministic_and_skips_untrained_classes() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((100, 3), np.float32), rng.choice([0, 3], 100)
    probabilities = random_forest(x, y, x[:20], classes=5)
    assert probabilities.shape == (20, 5)
    np.testing.assert_array_equal(probabilities[:, [1, 2, 4]], 0)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    np.testing.assert_array_equal(probabilities, random_forest(x, y, x[:20], classes=5))


def test_colour_floors_are_accurate_on_real_prostate_patches() -> None:
    rng = np.random.default_rng(0)
    files = sorted(real("prostate").glob("*/*.jpg"))
    sample = [files[i] for i in rng.choice(len(files), 400, replace=False)]
    images = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in sample])
    _, labels = np.unique([file.parent.name for file in sample], return_inverse=True)
    assert (
        majority(labels[:300], test_patches=100, classes=3).argmax(1) == labels[300:]
    ).mean() < 0.45
    for features_of, min_accuracy in ((mean_rgb, 0.8), (colour_histogram, 0.85)):
        colours = features_of(images)
        probabilities = random_forest(colours[:300], labels[:300], colours[300:], classes=3)
        assert (probabilities.argmax(1) == labels[300:]).mean() > min_accuracy


def test_colours_are_computed_once_for_all_seeds_and_shares(
    tissue: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Store] = []
    monkeypatch.setattr(
        "morefromless.evaluation.floors.modality_colours",
        lambda store, modality: calls.append(store) or modality_colours(store, modality),
    )
    for seed in range(2):
        floor_probabilities("majority", tissue, "full", "tissue", 0.5, seed, tmp_path)
    assert not calls
    for share, seed in ((1.0, 0), (0.5, 0), (0.5, 1)):
        floor_probabilities("mean-rgb", tissue, "full", "tissue", share, seed, tmp_path)
    assert len(calls) == 1
