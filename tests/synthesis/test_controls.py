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
Drawn = tuple[Images, Images, NDArray[np.str_], NDArray[np.bool_]]


def pairs(control: Literal["positive", "negative"]) -> Drawn:
    """Primary and privileged images, labels, and a mask of training patches."""
    source = Synthetic(patches=600, patients=24, size=32, control=control)
    items = source.items()
    read = [source.read(item) for item in items]
    return (
        np.stack([arrays["primary"] for arrays in read]),
        np.stack([arrays["privileged"] for arrays in read]),
        np.array([item.label for item in items]),
        np.array([item.split == "train" for item in items]),
    )


@pytest.fixture(scope="module")
def positive() -> Drawn:
    return pairs("positive")


@pytest.fixture(scope="module")
def negative() -> Drawn:
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


def accuracy(of: Callable[[Images], NDArray[np.float64]], images: Images, drawn: Drawn) -> float:
    _, _, labels, train = drawn
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    features = of(images)
    return float(probe.fit(features[train], labels[train]).score(features[~train], labels[~train]))


def test_the_primary_image_holds_the_signal_but_not_on_its_surface(positive: Drawn) -> None:
    assert accuracy(colour, positive[0], positive) < 0.38  # chance is 0.25
    assert accuracy(structure, positive[0], positive) > 0.85


def test_the_privileged_image_holds_the_signal_openly(positive: Drawn) -> None:
    assert accuracy(colour, positive[1], positive) > 0.8
    assert accuracy(structure, positive[1], positive) > 0.9


def test_the_nuisance_is_strong_in_the_primary_image_and_absent_from_the_privileged(
    positive: Drawn,
) -> None:
    def coarse(images: Images) -> float:
        blocks = images.reshape(-1, 4, 8, 4, 8, 3).mean(axis=(2, 4))
        return float(blocks.std(axis=(1, 2)).mean())

    assert coarse(positive[0]) > 2 * coarse(positive[1])


def test_both_controls_have_the_same_primary_images(positive: Drawn, negative: Drawn) -> None:
    np.testing.assert_array_equal(positive[0], negative[0])


def test_the_negative_privileged_image_differs_in_noise_alone(negative: Drawn) -> None:
    difference = negative[0].astype(int) - negative[1]
    assert np.abs(difference).max() <= 6
    assert 0.1 < difference.std() < 2
    assert abs(difference.mean()) < 0.01
    assert (
        abs(accuracy(structure, negative[0], negative) - accuracy(structure, negative[1], negative))
        < 0.05
    )
