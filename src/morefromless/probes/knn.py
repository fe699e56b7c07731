"""k-nearest-neighbour classifier on the training patches."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from morefromless.config import Probe
from morefromless.errors import ConfigError
from morefromless.probes import ProbeMethod, check_features

BATCH_SIZE = 1024
"""Patches per batch; limits the memory of the similarity matrix (batch x training patches)."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """A fitted k-nearest-neighbour classifier."""

    features: Tensor
    """(N, D) features of the training patches, of unit length."""
    votes: Tensor
    """(N, classes) one-hot labels of the training patches."""
    k: int

    @torch.no_grad()
    def probabilities(self, features: Tensor) -> Tensor:
        """(n, D) -> (n, classes): the fraction of each class among the k nearest neighbours."""
        shares = []
        for part in torch.split(normalize(features.to(self.features)), BATCH_SIZE):
            nearest = (part @ self.features.T).topk(self.k, dim=1).indices
            shares.append(self.votes[nearest].mean(1))
        return torch.cat(shares)

    def to(self, device: torch.device | str) -> "Neighbours":
        return Neighbours(self.features.to(device), self.votes.to(device), self.k)


@dataclass(frozen=True)
class Knn(ProbeMethod):
    """Unweighted vote of the k training patches with the highest cosine similarity.

    `knn:20` is the usual value. `fit` raises `ConfigError` if there are at most k labelled training
    patches, because all of them would vote and every patch would get the same prediction.
    """

    k: int = 20

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"knn:{self.k} uses no neighbours; give 1 or more, such as knn:20.")

    def fit(
        self,
        features: Tensor,
        labels: Tensor,
        classes: int,
        options: Probe,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        check_features(features, labels, classes)
        if self.k >= len(features):
            raise ConfigError(
                f"--probe knn:{self.k} uses all of the {len(features)} training patches, so every "
                "patch would get the same prediction; give fewer neighbours, such as knn:1."
            )
        votes = one_hot(labels.to(features.device), classes).float()
        return {"features": normalize(features.float()), "votes": votes}

    def fitted(self, learnt: dict[str, Tensor]) -> Neighbours:
        return Neighbours(**learnt, k=self.k)
