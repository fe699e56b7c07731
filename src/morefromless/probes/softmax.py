"""The paper's probe: one dense layer with softmax, trained with Adam."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam

from morefromless.config import Probe
from morefromless.devices import threads
from morefromless.probes import LinearProbe, ProbeMethod, check_features


@dataclass(frozen=True)
class Softmax(ProbeMethod):
    """One dense layer with softmax (paper, 2.2), see `fit_linear_probe`.

    Its options are `--probe-epochs`, `--probe-lr` and `--standardise`.
    """

    options = ("probe_epochs", "probe_lr", "standardise")

    def fit(
        self, features: Tensor, labels: Tensor, classes: int, options: Probe, seed: int
    ) -> dict[str, Tensor]:
        probe = fit_linear_probe(
            features,
            labels,
            classes,
            epochs=options.probe_epochs,
            lr=options.probe_lr,
            standardise=options.standardise,
            seed=seed,
        )
        return vars(probe)

    def fitted(self, learnt: dict[str, Tensor]) -> LinearProbe:
        return LinearProbe(**learnt)


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
    """Fit the paper's probe: one dense layer with softmax, trained with Adam on the cross-entropy.

    `features` (N, D) of any floating type, `labels` (N,) int64 in [0, classes). Data and probe are
    on `device`, by default the features' device. Weights start Glorot-uniform and the bias at zero,
    the defaults of the paper's framework. The patches are shuffled every epoch, and the last,
    smaller batch is used. All random numbers come from `seed` and are drawn on the CPU, so the
    order of the patches is the same on every device. Training uses one CPU thread, so the result on
    a CPU does not depend on PyTorch's number of threads.

    `standardise=True` (not in the paper) scales each feature to zero mean and unit variance over
    these patches. The scaling is then folded into the weights, so the returned probe takes raw
    features. This matters if encoders with different feature scales are compared: with a fixed
    learning rate and number of epochs, the probe of small features underfits.

    Source: section 2.2 of the paper. Raises `DataError` if features are not finite or labels are
    out of range.
    """
    check_features(features, labels, classes)
    device = features.device if device is None else torch.device(device)
    x = features.to(device, torch.float32)
    target = torch.nn.functional.one_hot(labels.to(device), classes).to(torch.float32)
    mean, scale = torch.zeros_like(x[0]), torch.ones_like(x[0])
    if standardise:
        scale, mean = torch.std_mean(x, dim=0, correction=0)
        # Do not scale a feature that is constant up to float32 precision: that would amplify its
        # rounding errors to unit variance.
        scale = torch.where(scale > 1e-6 * mean.abs(), scale, 1.0)
        x = (x - mean) / scale

    generator = torch.Generator().manual_seed(seed)
    bound = (6 / (x.shape[1] + classes)) ** 0.5
    start = torch.rand(classes, x.shape[1], generator=generator) * (2 * bound) - bound
    weight, bias = start.to(device), torch.zeros(classes, device=device)
    moments, squares = ([torch.zeros_like(p) for p in (weight, bias)] for _ in range(2))
    steps = [torch.zeros((), device=device) for _ in range(2)]
    batch_buffer = torch.empty_like(x[:batch])  # allocating every batch costs a third of the time
    # One thread, because a step is too small to parallelise: two threads wait for each other longer
    # than they work, and fifty times as long if another process uses a core.
    with torch.autocast(device.type, enabled=False), threads(1):
        for _ in range(epochs):
            order = torch.randperm(len(x), generator=generator).to(device)
            for first in range(0, len(x), batch):
                rows = order[first : first + batch]
                inputs = torch.index_select(x, 0, rows, out=batch_buffer[: len(rows)])
                # Explicit gradient of the mean cross-entropy: autograd would cost more time.
                # Classes are rows, because this product takes half the time for wide matrices.
                scores = torch.addmm(bias[:, None], weight, inputs.T)
                error = (scores.softmax(0) - target[rows].T) / len(rows)
                # `torch.optim.Adam` checks for a GPU at every step, which takes longer than it.
                adam(
                    [weight, bias],
                    [error @ inputs, error.sum(1)],
                    moments,
                    squares,
                    [],
                    steps,
                    fused=True,
                    amsgrad=False,
                    beta1=0.9,
                    beta2=0.999,
                    lr=lr,
                    weight_decay=0.0,
                    eps=1e-8,
                    maximize=False,
                )
    return LinearProbe(weight / scale, bias - weight @ (mean / scale))
