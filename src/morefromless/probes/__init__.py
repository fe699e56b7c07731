"""Probes: classifiers that are fitted to frozen features. An open set.

`softmax` is the paper's and what results are reported with by default; `ridge` has a closed form
and `knn` learns nothing, so these two depend on no learning rate. To add one, add a file with one
public class deriving from `ProbeMethod`.
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
    """What a probe became: it turns features into probabilities."""

    def probabilities(self, features: Tensor) -> Tensor:
        """(N, D) of any floating type and device -> (N, classes) float32."""

    def to(self, device: torch.device | str) -> "FittedProbe":
        """The same on a device."""


class ProbeMethod(Member, ABC):
    """A way of asking frozen features a task."""

    options: tuple[str, ...] = ()
    """Which of `probe_epochs`, `probe_lr` and `standardise` it has."""

    @abstractmethod
    def fit(
        self, features: Tensor, labels: Tensor, classes: int, options: Probe, seed: int
    ) -> dict[str, Tensor]:
        """What is learnt of features (N, D) and labels (N,) int64 in [0, classes), by name.

        Everything lies on the features' device. Raises `DataError` for features that are not
        finite and for labels out of range.
        """

    @abstractmethod
    def fitted(self, learnt: dict[str, Tensor]) -> FittedProbe:
        """The classifier of what `fit` learnt."""


def build_probe(options: Probe) -> ProbeMethod:
    """The way that `options.probe` names, e.g. `knn:20`.

    Raises `ConfigError` where there is none, or options are given that it does not have.
    """
    method = build(options.probe, sys.modules[__name__], ProbeMethod)
    for name in ("probe_epochs", "probe_lr", "standardise"):
        if name not in method.options and getattr(options, name) != getattr(Probe(), name):
            raise ConfigError(
                f"--probe {options.probe} has no --{name.replace('_', '-')}; leave it out."
            )
    return method


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A linear classifier: logits = features · weightᵀ + bias.

    `weight` (classes, D) and `bias` (classes,) are float32 and lie on one device, on which
    everything the probe returns lies too.
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
        """The same probe on a device."""
        return LinearProbe(self.weight.to(device), self.bias.to(device))


def label_subset(labels: npt.NDArray[np.int64], share: float, seed: int) -> npt.NDArray[np.int64]:
    """Places of the patches whose labels a probe sees: (N,) -> (n,), in ascending order.

    Of a class with n patches round(share n) are drawn, and one at least. A smaller share of the
    same seed is part of a larger one.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        drawn.append(members[: max(1, round(share * len(members)))])
    subset: npt.NDArray[np.int64] = np.sort(np.concatenate(drawn))
    return subset


def check_features(features: Tensor, labels: Tensor, classes: int) -> None:
    """Raise `DataError` for features that are not finite and for labels out of range."""
    if features.ndim != 2 or labels.shape != features.shape[:1] or not len(features):
        raise ValueError(
            f"expected features (N, D) and labels (N,) with N > 0, "
            f"got {tuple(features.shape)} and {tuple(labels.shape)}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"The labels run from {int(labels.min())} to {int(labels.max())}, but the probe has "
            f"{classes} classes; the patches and the list of classes do not belong together."
        )
    # A sum of values that are not finite is not finite, and reads them once.
    if not features.sum().isfinite() and (broken := int((~features.isfinite()).any(1).sum())):
        raise DataError(
            f"The features of {broken} of {len(features)} patches are not finite; the encoder "
            "diverged, so train it again with a lower learning rate or in full precision."
        )
