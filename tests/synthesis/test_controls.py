"""Properties of the controls, without training: which images contain the signal."""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from morefromless.sources.synthetic import Synthetic

Images = NDArray[np.uint8]
ControlData = tuple[Images, Images, NDArray[np.str_], NDArray[np.bool_]]


def pairs(control: Literal["positive", "negative"]) -> ControlData:
    """Primary and privileged images, labels, and a mask of training patches."""
    source = Synthetic(patches=600, patients=24, size=32, control=control)
    items = source.items()
    patches = [source.read(item) for item in items]
    return (
        np.stack([arrays["primary"] for arrays in patches]),
        np.stack([arrays["privileged"] for arrays in patches]),
        np.array([item.label for item in items]),
        np.array([item.split == "train" for item in items]),
    )


@pytest.fixture(scope="module")
def positive() -> ControlData:
    return pairs("positive")


@pytest.fixture(scope="module")
def negative() -> ControlData:
    return pairs("negative")


def colour(images: Images) -> NDArray[np.float64]:
    return images.mean(axis=(1, 2))


def structure(images: Images) -> NDArray[np.float64]:
    """Log energies of the optical densities in rings of spatial frequency."""
    density = -np.log((images + 5.0) / 255.0)
    density -= density.mean(axis=(1, 2), keepdims=True)
    energy = np.abs(np.fft.fft2(density, axes=(1, 2))) ** 2
    frequency = np.fft.fftfreq(images.shape[1])
    radius = np.sqrt(frequency[:, None] ** 2 + frequency**2)
    edges = (0.01, 0.06, 0.12, 0.2, 0.28, 0.36, 0.5, 0.8)
    rings = [(radius >= low) & (radius < high) for low, high in pairwise(edges)]
    return np.log(np.concatenate([energy[:, ring].mean(axis=1) for ring in rings], axis=1) + 1e-9)


def accuracy(
    extract: Callable[[Images], NDArray[np.float64]], images: Images, data: ControlData
) -> float:
    _, _, labels, train = data
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    features = extract(images)
    return float(probe.fit(features[train], labels[train]).score(features[~train], labels[~train]))


def test_primary_image_has_the_signal_only_in_its_structure(positive: ControlData) -> None:
    assert accuracy(colour, positive[0], positive) < 0.38  # chance is 0.25
    assert accuracy(structure, positive[0], positive) > 0.85


def test_privileged_image_has_the_signal_in_its_colour(positive: ControlData) -> None:
    assert accuracy(colour, positive[1], positive) > 0.8
    assert accuracy(structure, positive[1], positive) > 0.9


def test_nuisance_is_only_in_the_primary_image(
    positive: ControlData,
) -> None:
    def coarse(images: Images) -> float:
        blocks = images.reshape(-1, 4, 8, 4, 8, 3).mean(axis=(2, 4))
        return float(blocks.std(axis=(1, 2)).mean())

    assert coarse(positive[0]) > 2 * coarse(positive[1])


def test_controls_have_the_same_primary_images(
    positive: ControlData, negative: ControlData
) -> None:
    np.testing.assert_array_equal(positive[0], negative[0])


def test_negative_privileged_image_differs_only_in_noise(negative: ControlData) -> None:
    difference = negative[0].astype(int) - negative[1]
    assert np.abs(difference).max() <= 6
    assert 0.1 < difference.std() < 2
    assert abs(difference.mean()) < 0.01
    assert (
        abs(accuracy(structure, negative[0], negative) - accuracy(structure, negative[1], negative))
        < 0.05
    )
