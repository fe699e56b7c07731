"""Probes: linear classifiers on frozen features.

`fit_linear_probe` is the paper's (one dense layer with softmax, trained by Adam) and is what
results are reported with. `fit_ridge_probe` has a closed form, needs milliseconds and no seed, and
is meant for learning curves during training.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from morefromless.errors import DataError


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A linear classifier: logits = features · weightᵀ + bias.

    `weight` (classes, D) and `bias` (classes,) are float32 and lie on one device, on which
    everything the probe returns lies too.
    """

    weight: Tensor
    bias: Tensor

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


@torch.no_grad()
def fit_linear_probe(
    features: Tensor,
    labels: Tensor,
    classes: int,
    *,
    epochs: int = 100,
    lr: float = 1e-3,
    batch: int = 128,
    seed: int = 0,
    standardise: bool = False,
    device: torch.device | str | None = None,
) -> LinearProbe:
    """The paper's probe: one dense layer with softmax, trained by Adam on the cross-entropy.

    `features` (N, D) of any floating type, `labels` (N,) int64 in [0, classes). Everything moves
    to `device` (by default where the features are) and stays there. Glorot-uniform weights and
    zero bias, as the paper's framework starts a dense layer; the patches are shuffled each epoch
    and the last, smaller batch is used. All randomness comes from `seed` and is drawn on the CPU,
    so the order of the patches is the same on every device.

    `standardise=True` (not in the paper) brings each feature to zero mean and unit variance over
    these patches first, and folds that into the weights afterwards: the probe that is returned
    still takes raw features. It matters where encoders are compared whose features differ in
    scale, because at a fixed learning rate and length the probe of small features underfits.

    Source: section 2.2 of the paper. Raises `DataError` for features that are not finite and for
    labels out of range.
    """
    _check(features, labels, classes)
    device = features.device if device is None else torch.device(device)
    x = features.to(device, torch.float32)
    target = torch.nn.functional.one_hot(labels.to(device), classes).to(torch.float32)
    mean, scale = torch.zeros_like(x[0]), torch.ones_like(x[0])
    if standardise:
        scale, mean = torch.std_mean(x, dim=0, correction=0)
        # A feature that float32 cannot tell from a constant stays one, instead of its rounding
        # errors growing to unit variance.
        scale = torch.where(scale > 1e-6 * mean.abs(), scale, 1.0)
        x = (x - mean) / scale

    draw = torch.Generator().manual_seed(seed)
    bound = (6 / (x.shape[1] + classes)) ** 0.5
    start = torch.rand(classes, x.shape[1], generator=draw) * (2 * bound) - bound
    weight = start.to(device).requires_grad_()
    bias = torch.zeros(classes, device=device, requires_grad=True)
    adam = torch.optim.Adam([weight, bias], lr=lr, fused=True)
    with torch.autocast(device.type, enabled=False):
        for _ in range(epochs):
            order = torch.randperm(len(x), generator=draw).to(device)
            for first in range(0, len(x), batch):
                rows = order[first : first + batch]
                inputs = x[rows]
                # The gradient of the mean cross-entropy, by hand: autograd costs more than it.
                error = (torch.addmm(bias, inputs, weight.T).softmax(1) - target[rows]) / len(rows)
                weight.grad, bias.grad = error.T @ inputs, error.sum(0)
                adam.step()
    weight, bias = weight.detach(), bias.detach()
    return LinearProbe(weight / scale, bias - weight @ (mean / scale))


@torch.no_grad()
def fit_ridge_probe(
    features: Tensor, labels: Tensor, classes: int, *, strength: float = 1e-3
) -> LinearProbe:
    """Least squares, each class against the rest (targets +1 and -1), in closed form.

        min_W ‖Xc Wᵀ − Yc‖² + λ ‖W‖²,   λ = strength · tr(Xcᵀ Xc)

    `features` (N, D), `labels` (N,) int64 in [0, classes). Xc and Yc are centred, so the bias is
    not penalised. λ grows with the total variance: the probe's decisions do not change when all
    features are multiplied by a constant, rotated or repeated, and directions that hold much less
    than `strength` of the variance are damped. Solved in float64 in the smaller of N x N and D x D,
    on the features' device. Its logits approximate the targets, so their softmax is no estimate of
    probability: use it for accuracies, never for calibration.

    Raises `DataError` for features that are not finite and for labels out of range.
    """
    _check(features, labels, classes)
    x = features.to(torch.float64)
    y = 2 * torch.nn.functional.one_hot(labels.to(x.device), classes).to(torch.float64) - 1
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    # All features constant: any positive penalty gives the right answer, which is zero weights.
    penalty = max(strength * x.square().sum().item(), torch.finfo(torch.float64).tiny)
    if x.shape[0] < x.shape[1]:
        weight = y.T @ torch.cholesky_solve(x, _factor(x @ x.T, penalty))
    else:
        weight = torch.cholesky_solve(x.T @ y, _factor(x.T @ x, penalty)).T
    bias = y_mean - weight @ x_mean
    return LinearProbe(weight.float().contiguous(), bias.float())


def _factor(gram: Tensor, penalty: float) -> Tensor:
    gram.diagonal().add_(penalty)
    factor: Tensor = torch.linalg.cholesky(gram)
    return factor


def _check(features: Tensor, labels: Tensor, classes: int) -> None:
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
    broken = int((~features.isfinite()).any(1).sum())
    if broken:
        raise DataError(
            f"The features of {broken} of {len(features)} patches are not finite; the encoder "
            "diverged, so train it again with a lower learning rate or in full precision."
        )
