"""Probes: classifiers that are fitted to frozen features.

`softmax` is the paper's probe and the default. `ridge` has a closed form and `knn` has no training,
so these two have no learning rate. To add a probe, add a file with one public subclass of
`ProbeMethod`.
"""

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from morefromless.config import Probe
from morefromless.errors import ConfigError, DataError
from morefromless.specs import Member, build


class FittedProbe(Protocol):
    """A fitted probe, which predicts class probabilities from features."""

    def probabilities(self, features: Tensor) -> Tensor:
        """(N, D) of any floating type and device -> (N, classes) float32."""

    def to(self, device: torch.device | str) -> "FittedProbe":
        """Return the same probe on a device."""


class ProbeMethod(Member, ABC):
    """A type of probe."""

    options: tuple[str, ...] = ()
    """The options of `probe_epochs`, `probe_lr` and `standardise` that it supports."""

    @abstractmethod
    def fit(
        self, features: Tensor, labels: Tensor, classes: int, options: Probe, seed: int
    ) -> dict[str, Tensor]:
        """Fit to features (N, D) and labels (N,) int64 in [0, classes); return tensors by name.

        The tensors are on the features' device. Raises `DataError` if features are not finite or
        labels are out of range.
        """

    @abstractmethod
    def fitted(self, learnt: dict[str, Tensor]) -> FittedProbe:
        """Build the classifier from the tensors that `fit` returned."""


def build_probe(options: Probe) -> ProbeMethod:
    """Build the probe that `options.probe` names, e.g. `knn:20`.

    Raises `ConfigError` if there is no such probe, or if it does not support a given option.
    """
    method = build(options.probe, sys.modules[__name__], ProbeMethod)
    for name in ("probe_epochs", "probe_lr", "standardise"):
        if name not in method.options and getattr(options, name) != getattr(Probe(), name):
            raise ConfigError(
                f"--probe {options.probe} has no --{name.replace('_', '-')}; remove it."
            )
    return method


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A linear classifier: logits = features · weightᵀ + bias.

    `weight` (classes, D) and `bias` (classes,) are float32 and on one device. Outputs are on the
    same device.
    """

    weight: Tensor
    bias: Tensor

    def __repr__(self) -> str:
        classes, width = self.weight.shape
        return f"LinearProbe({width} features -> {classes} classes)"

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        """(N, D) of any floating type and device -> (N, classes) float32."""
        with torch.autocast(self.weight.device.type, enabled=False):
            return torch.addmm(self.bias, features.to(self.weight), self.weight.T)

    def probabilities(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, classes) float32, the softmax of the logits."""
        return self.logits(features).softmax(1)

    def to(self, device: torch.device | str) -> "LinearProbe":
        """Return the same probe on a device."""
        return LinearProbe(self.weight.to(device), self.bias.to(device))


def label_subset(labels: npt.NDArray[np.int64], share: float, seed: int) -> npt.NDArray[np.int64]:
    """Draw a stratified subset of labels: (N,) -> (n,) indices in ascending order.

    A class with n patches contributes max(1, round(share * n)) of them. With the same seed, a
    smaller share gives a subset of a larger one.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        drawn.append(members[: max(1, round(share * len(members)))])
    subset: npt.NDArray[np.int64] = np.sort(np.concatenate(drawn))
    return subset


def check_features(features: Tensor, labels: Tensor, classes: int) -> None:
    """Raise `DataError` if features are not finite or labels are out of range."""
    if features.ndim != 2 or labels.shape != features.shape[:1] or not len(features):
        raise ValueError(
            f"expected features (N, D) and labels (N,) with N > 0, "
            f"got {tuple(features.shape)} and {tuple(labels.shape)}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"The labels range from {int(labels.min())} to {int(labels.max())}, but the probe has "
            f"{classes} classes; give labels and classes that match."
        )
    # Non-finite values make the sum non-finite; the sum reads the features only once.
    if not features.sum().isfinite() and (broken := int((~features.isfinite()).any(1).sum())):
        raise DataError(
            f"The features of {broken} of {len(features)} patches are not finite; the encoder "
            "diverged, so train it again with a lower learning rate or in full precision."
        )
