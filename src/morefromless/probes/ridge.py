"""Ridge classifier in closed form, without learning rate, epochs or seed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from morefromless.config import Probe
from morefromless.errors import ConfigError
from morefromless.probes import LinearProbe, ProbeMethod, check_features


@dataclass(frozen=True)
class Ridge(ProbeMethod):
    """One-vs-rest ridge classifier, see `fit_ridge_probe`.

    `ridge:0.01` is a penalty of a hundredth of the features' total variance. The accuracy does not
    depend on the scale of the features. The probabilities are the softmax of scores near +1 and -1:
    they rank classes but are not calibrated, so ignore their calibration error.
    """

    strength: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.strength < float("inf"):
            raise ConfigError(
                f"ridge:{self.strength:g} is not a valid penalty; give a number above 0."
            )

    def fit(
        self,
        features: Tensor,
        labels: Tensor,
        classes: int,
        options: Probe,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        return vars(fit_ridge_probe(features, labels, classes, strength=self.strength))

    def fitted(self, learnt: dict[str, Tensor]) -> LinearProbe:
        return LinearProbe(**learnt)


@torch.no_grad()
def fit_ridge_probe(
    features: Tensor, labels: Tensor, classes: int, *, strength: float = 1e-3
) -> LinearProbe:
    """Fit one-vs-rest ridge regression (targets +1 and -1) in closed form.

        min_W ‖Xc Wᵀ − Yc‖² + λ ‖W‖²,   λ = strength · tr(Xcᵀ Xc)

    `features` (N, D), `labels` (N,) int64 in [0, classes). Xc and Yc are centred, so the bias is
    not penalised. λ grows with the total variance. The predicted classes therefore do not change if
    all features are multiplied by a constant, rotated or repeated. Directions with much less than
    `strength` of the variance are damped. The system is solved in float64 on the features' device,
    with the smaller of the N x N and D x D matrices. The logits approximate the targets, so their
    softmax is not an estimate of probability: use it for accuracy, never for calibration.

    Raises `DataError` if features are not finite or labels are out of range.
    """
    check_features(features, labels, classes)
    x = features.to(torch.float64)
    y = 2 * torch.nn.functional.one_hot(labels.to(x.device), classes).to(torch.float64) - 1
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    # If all features are constant, any positive penalty gives the correct result: zero weights.
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
