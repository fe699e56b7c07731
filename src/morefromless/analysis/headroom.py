"""Headroom: estimate, without training, how much a privileged view can improve an encoder.

Frozen features of both views of the same patches answer three questions. How much better does the
dense view predict the labels than the sparse view? Which share of the dense features can be
predicted from the sparse features? How much better do these predicted dense features predict the
labels? The first answer bounds the gain of a student; the last answer is a forecast of the gain.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from morefromless.config import HeadroomConfig
from morefromless.data.store import Store
from morefromless.devices import resolve_device
from morefromless.encoders import build_encoder
from morefromless.errors import ConfigError
from morefromless.evaluation.floors import colour_histogram, modality_colours
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.evaluation.intervals import Interval
from morefromless.evaluation.paired import difference
from morefromless.modalities import Modality
from morefromless.pairs import build_modality
from morefromless.probes.ridge import fit_ridge_probe
from morefromless.progress import Bar
from morefromless.tasks import build_task

FOLDS = 5
PATCHES_PER_BLOCK = 8
"""Patches whose textures are computed in one step, so that they stay in the CPU cache."""
PENALTIES = tuple(10.0**power for power in range(-6, 1))
"""Ridge penalties, as shares of the features' total variance; the best out of fold is used."""


@dataclass(frozen=True)
class Component:
    """One principal component of the dense features."""

    variance: float
    """Share of the variance of the dense features."""
    predicted: float
    """Share of the component's variance that sparse features predict: R² out of fold, >= 0."""


@dataclass(frozen=True, eq=False)
class Headroom:
    """Results of both views' features on test patches; differences are between accuracies."""

    config: HeadroomConfig
    sparse: float
    """Accuracy of a probe of the sparse features; `dense` is that of the dense features."""
    dense: float
    predicted: float
    """Accuracy of a probe of dense features that are predicted from sparse features."""
    headroom: Interval
    """Dense minus sparse: training with the dense view is not expected to gain more."""
    forecast: Interval
    """Predicted minus sparse: the forecast gain from the privileged view."""
    components: list[Component]

    @property
    def predicted_share(self) -> float:
        """Share of the variance of all components that sparse features predict."""
        total = sum(component.variance for component in self.components)
        return sum(c.variance * c.predicted for c in self.components) / total


def measure_headroom(config: HeadroomConfig) -> Headroom:
    """Compute features of both views, fit probes, and predict dense features from sparse ones.

    Raises `ConfigError` or `DataError` if test patches or labels are missing.
    """
    store = Store.open(config.store)
    views = [build_modality(config.primary), build_modality(config.privileged)]
    for view in views:
        view.check(store)
    store = store.select(*views, task=build_task(config.task))
    train, test = store.indices("train"), store.indices("test")
    if not len(test):
        raise ConfigError(f"{store.path} has no labelled test patches; ingest it with a split.")
    if not store.can_train_probe:
        raise ConfigError(
            f"The labelled training patches of {store.path} that have both views belong to fewer "
            "than two classes; label patches of another class."
        )
    sparse, dense = (
        _standardise(*_features(spec, store, config))
        for spec in (config.primary, config.privileged)
    )
    most = min(len(train) - 1, dense[0].shape[1])  # centred features of n patches have rank n - 1
    axes, variances = principal_axes(dense[0], min(config.components, most))
    target = dense[0] @ axes
    train_predictions, test_predictions = predict_out_of_fold(
        sparse[0], target, sparse[1], store.groups("train")
    )
    unexplained = (target - train_predictions).square().sum(0) / target.square().sum(0)
    labels = torch.from_numpy(store.labels)
    correct = [
        _correct_predictions(*features, labels[train], labels[test], len(store.classes))
        for features in (sparse, dense, (train_predictions, test_predictions))
    ]
    groups = store.groups("test")
    return Headroom(
        config=config,
        sparse=float(correct[0].mean()),
        dense=float(correct[1].mean()),
        predicted=float(correct[2].mean()),
        headroom=difference(correct[1], correct[0], groups=groups).interval,
        forecast=difference(correct[2], correct[0], groups=groups).interval,
        components=[
            Component(float(variance), max(0.0, 1 - float(share)))
            for variance, share in zip(variances, unexplained, strict=True)
        ],
    )


def principal_axes(features: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Axes (D, count) of centred features (N, D), and their shares of the variance (count,)."""
    values, vectors = torch.linalg.eigh(features.T @ features)
    order = values.argsort(descending=True)[:count]
    return vectors[:, order], values[order] / values.sum()


def predict_out_of_fold(
    train: Tensor, target: Tensor, test: Tensor, groups: npt.NDArray[np.object_] | None = None
) -> tuple[Tensor, Tensor]:
    """Ridge predictions of `target` (N, K) from `train` (N, D) out of fold, and from `test`.

    All arrays are centred. Each column of the target uses the penalty that is best out of fold.
    `groups` (N,), such as patients, are not divided between folds, because patches of one group are
    more similar than patches of two groups.
    """
    fold = _folds(len(train), groups)
    predictions = torch.zeros(len(PENALTIES), *target.shape, dtype=target.dtype)
    for number in range(FOLDS):
        rows = fold != number
        for k, prediction in enumerate(_ridges(train[rows], target[rows], train[~rows])):
            predictions[k, ~rows] = prediction
    best = (predictions - target).square().sum(1).argmin(0)  # (K,)
    columns = torch.arange(target.shape[1])
    test_predictions = torch.stack(list(_ridges(train, target, test)))
    return predictions[best, :, columns].T, test_predictions[best, :, columns].T


def _folds(patches: int, groups: npt.NDArray[np.object_] | None) -> Tensor:
    """Fold of each patch, (patches,). Groups are kept together, unless there is only one group."""
    units = np.arange(patches)
    if groups is not None and len(set(groups)) > 1:
        units = np.unique(groups, return_inverse=True)[1]
    order = torch.randperm(units.max() + 1, generator=torch.Generator().manual_seed(0))
    return (order % FOLDS)[torch.from_numpy(units)]


def _ridges(train: Tensor, target: Tensor, test: Tensor) -> Iterator[Tensor]:
    """Yield predictions (M, K) for each penalty, from one eigendecomposition."""
    values, vectors = torch.linalg.eigh(train.T @ train)
    projected = vectors.T @ (train.T @ target)
    # If all features are constant, any positive penalty gives the correct prediction, the mean.
    variance = values.sum().clamp(min=torch.finfo(values.dtype).tiny / min(PENALTIES))
    for penalty in PENALTIES:
        damped = projected / (values + penalty * variance)[:, None]
        yield test @ (vectors @ damped)


def _features(spec: str, store: Store, config: HeadroomConfig) -> tuple[Tensor, Tensor]:
    """Training and test features of a view: from the reference encoder, or hand-crafted."""
    if config.encoder is None:
        features = torch.from_numpy(handcrafted(store, build_modality(spec)))
        return features[store.indices("train")], features[store.indices("test")]
    encoder = build_encoder(config.encoder, build_modality(spec).channels)
    if not encoder.pretrained:
        raise ConfigError(
            f"The reference encoder '{config.encoder}' has random weights; give weights=FILE or "
            "pretrained=true, or no encoder, which selects hand-crafted features."
        )
    size = config.size or encoder.input_size
    folder = config.out / "features"
    frozen = FrozenEncoder(encoder.eval(), spec, size, "reference", None, shared_cache=folder)
    device = resolve_device(config.device)
    return (
        frozen.features(store, "train", device, label=f"{spec}, train"),
        frozen.features(store, "test", device, label=f"{spec}, test"),
    )


def handcrafted(store: Store, modality: Modality) -> npt.NDArray[np.float32]:
    """Hand-crafted features of every patch in a modality: (N, features).

    The first features are the square roots of the 512 shares of the colour histogram. Then follows,
    per octave and channel, the standard deviation of the detail that halving the resolution
    removes. For a vector, the features are its values.
    """
    if modality.vector:
        return np.array(store.array(modality.array), dtype=np.float32)  # PyTorch needs a copy
    colours = modality_colours(store, modality)
    histograms = colour_histogram(colours)
    side = store.array(modality.array).shape[1]
    textures = []
    with Bar(desc="textures", total=len(colours), unit=" patches", delay=2) as bar:
        for rows in np.array_split(
            np.arange(len(colours)), max(1, len(colours) // PATCHES_PER_BLOCK)
        ):
            textures.append(_textures(torch.from_numpy(np.asarray(colours[rows])), side).numpy())
            bar.update(len(rows))
    return np.concatenate([np.sqrt(histograms), np.concatenate(textures)], axis=1)


def _textures(images: Tensor, side: int) -> Tensor:
    """(N, r, r, 3) uint8, enlarged to `side` px -> (N, 3 times the number of octaves)."""
    # One image of 3 N channels: with 3 channels per image, PyTorch would reorder each in memory.
    image = images.permute(0, 3, 1, 2).flatten(0, 1)[None] / 255
    image = F.interpolate(image, size=(side, side), mode="bilinear")
    octaves = []
    while image.shape[-1] >= 4:
        coarse = F.avg_pool2d(image, 2)
        detail = image - F.interpolate(coarse, size=image.shape[-2:], mode="bilinear")
        octaves.append(_deviation(detail.flatten(2)[0]).reshape(-1, 3))
        image = coarse
    return torch.cat(octaves, dim=1)


def _deviation(values: Tensor) -> Tensor:
    """`values.std(1)` for values with a mean near zero, several times faster: (M, K) -> (M,)."""
    squares = torch.linalg.vector_norm(values, dim=1).square()
    count = values.shape[1]
    variance: Tensor = (squares - count * values.mean(1).square()) / (count - 1)
    return variance.clamp(min=0).sqrt()


def _standardise(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Scale to zero mean and unit variance over training patches; constant features become zero."""
    train, test = train.double(), test.double()
    scale, mean = torch.std_mean(train, dim=0, correction=0)
    varies = scale > 1e-6 * mean.abs()
    scale = torch.where(varies, scale, torch.inf)
    return (train - mean) / scale, (test - mean) / scale


def _correct_predictions(
    train: Tensor, test: Tensor, labels: Tensor, truth: Tensor, classes: int
) -> npt.NDArray[np.bool_]:
    """Whether a ridge probe of these features classifies each test patch correctly: (tests,)."""
    probe = fit_ridge_probe(train, labels, classes)
    correct: npt.NDArray[np.bool_] = (probe.logits(test).argmax(1) == truth).numpy()
    return correct
