"""VICReg: embeddings of a pair agree, every dimension varies, and dimensions are uncorrelated."""

import math
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

from morefromless.errors import ConfigError
from morefromless.objectives import Loss, Objective


class VICReg(Objective):
    """Variance-invariance-covariance regularisation of two or more branches.

        total = invariance * s + variance * v + covariance * c

    with s the mean squared difference of two branches' embeddings, v the hinge
    mean_j max(0, gamma - sqrt(Var(z_j) + epsilon)) and c the sum of the squared off-diagonal
    covariances divided by the width D. `convention` sets how they are combined:

    `official`  facebookresearch/vicreg and lightly. Unbiased statistics, epsilon 1e-4; v is the
                mean over the two branches, c the sum. For more branches: the mean of this loss
                over unordered pairs of branches, which keeps the balance between the terms.
    `authors`   The code of More From Less and TriDeNT. Biased statistics, epsilon 1e-5; s is
                summed over ordered pairs (each pair twice), v and c over branches. For two
                branches, this is twice the official loss with half its covariance weight. The
                authors differentiate the sum over the batch; this class uses the mean. Adam is
                invariant to this factor.

    (solo-learn sums v over two branches: that is `official` with `variance=50`.)

    Terms: `invariance`, `variance`, `covariance`, before weighting. Because of epsilon, a dimension
    without variance has a finite gradient. Weights are 0 or more, gamma and epsilon above 0. A
    batch over all processes has at least two rows.

    Source: Bardes et al. 2022 (arXiv 2105.04906), equations 1 to 6; More From Less, section 2.2.

    >>> import torch
    >>> embeddings = [torch.eye(4), torch.eye(4).roll(1, 0)]
    >>> loss = VICReg()(embeddings)
    >>> round(loss.total.item(), 4), list(loss.terms)
    (25.0392, ['invariance', 'variance', 'covariance'])
    """

    min_rows = 2

    def __init__(
        self,
        convention: Literal["official", "authors"] = "official",
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        gamma: float = 1.0,
        epsilon: float | None = None,
    ) -> None:
        super().__init__()
        if convention not in ("official", "authors"):
            raise ConfigError(f"VICReg has no convention '{convention}'; use official or authors.")
        if epsilon is None:
            epsilon = 1e-4 if convention == "official" else 1e-5
        weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
        for name, value in weights.items():
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"VICReg needs {name} to be 0 or more, not {value}.")
        for name, value in {"gamma": gamma, "epsilon": epsilon}.items():
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"VICReg needs {name} to be above 0, not {value}.")
        self.convention = convention
        self.weights = weights
        self.gamma = gamma
        self.epsilon = epsilon

    def compute(self, embeddings: list[Tensor]) -> Loss:
        degrees = len(embeddings[0]) - (1 if self.convention == "official" else 0)
        centred = [branch - branch.mean(dim=0) for branch in embeddings]
        s = torch.stack([squared_distances(a, b).mean() for a, b in combinations(embeddings, 2)])
        variances = [z.square().sum(dim=0) / degrees for z in centred]
        v = torch.stack([hinge(variance, self.gamma, self.epsilon) for variance in variances])
        pairs = zip(centred, variances, strict=True)
        c = torch.stack([redundancy(z, variance, degrees) for z, variance in pairs])
        if self.convention == "official":
            terms = {"invariance": s.mean(), "variance": v.mean(), "covariance": 2 * c.mean()}
        else:
            terms = {"invariance": 2 * s.sum(), "variance": v.sum(), "covariance": c.sum()}
        total = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        return Loss(total, terms)


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared difference of each patch's two embeddings: (N, D), (N, D) -> (N,)."""
    return (first - second).square().mean(dim=1)


def hinge(variance: Tensor, gamma: float, epsilon: float) -> Tensor:
    """Mean shortfall of the standard deviations below gamma: variances (D,) -> scalar."""
    return torch.relu(gamma - torch.sqrt(variance + epsilon)).mean()


def redundancy(centred: Tensor, variance: Tensor, degrees: int) -> Tensor:
    """Sum of squared off-diagonal covariances, divided by D: (N, D) centred, (D,) -> scalar.

    Sums of squares are divided by the `degrees` of freedom: N - 1 is unbiased, N biased.

    If N < D, the D x D covariance is never formed: ||Z'Z||_F = ||ZZ'||_F, and ZZ' is N x N. The
    squared variances on the diagonal are then subtracted. With equal variances, at least
    1 - (N - 1) / D of the sum remains, so little precision is lost: at 128 x 8192, value and
    gradient are within 3e-7 of float64. If one dimension has nearly all of the variance, the error
    is larger (at a thousand times the others' scale: 3e-4 of the value, 3e-5 of the gradient).
    """
    rows, width = centred.shape
    if rows < width:
        gram = centred @ centred.T / degrees
        return (gram.square().sum() - variance.square().sum()) / width
    covariance = centred.T @ centred / degrees
    return 2 * covariance.triu(diagonal=1).square().sum() / width
