"""The nearest neighbours among the training patches: nothing is learnt."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from morefromless.config import Probe
from morefromless.errors import ConfigError
from morefromless.probes import ProbeMethod, check_features

CHUNK = 1024
"""Patches that are asked at once: similarities need memory for each of them and training patch."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Training patches that vote on others."""

    features: Tensor
    """(N, D) of length one."""
    votes: Tensor
    """(N, classes): 1 for a patch's class."""
    k: int

    @torch.no_grad()
    def probabilities(self, features: Tensor) -> Tensor:
        """(n, D) -> (n, classes): the share of each class among the k of highest cosine."""
        shares = []
        for part in torch.split(normalize(features.to(self.features)), CHUNK):
            nearest = (part @ self.features.T).topk(self.k, dim=1).indices
            shares.append(self.votes[nearest].mean(1))
        return torch.cat(shares)

    def to(self, device: torch.device | str) -> "Neighbours":
        return Neighbours(self.features.to(device), self.votes.to(device), self.k)


@dataclass(frozen=True)
class Knn(ProbeMethod):
    """The k nearest training patches by cosine similarity, each with one vote.

    `knn:20` is the usual number. Where not more training patches have a label, all of them would
    vote, and every patch would get the same answer: that is refused.
    """

    k: int = 20

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"knn:{self.k} asks no neighbour; give 1 or more, such as knn:20.")

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
                f"--probe knn:{self.k} asks all of the {len(features)} training patches, so every "
                "patch would get the same answer; give fewer neighbours, such as knn:1."
            )
        votes = one_hot(labels.to(features.device), classes).float()
        return {"features": normalize(features.float()), "votes": votes}

    def fitted(self, learnt: dict[str, Tensor]) -> Neighbours:
        return Neighbours(**learnt, k=self.k)
