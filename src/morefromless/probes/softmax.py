"""The paper's probe: one dense layer with softmax, trained by Adam."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam

from morefromless.config import Probe
from morefromless.devices import threads
from morefromless.probes import LinearProbe, ProbeMethod, check_features


@dataclass(frozen=True)
class Softmax(ProbeMethod):
    """One dense layer with softmax, as `fit_linear_probe` trains it (paper, 2.2).

    `--probe-epochs`, `--probe-lr` and `--standardise` are its options.
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
    """The paper's probe: one dense layer with softmax, trained by Adam on the cross-entropy.

    `features` (N, D) of any floating type, `labels` (N,) int64 in [0, classes). Everything moves
    to `device` (by default where the features are) and stays there. Glorot-uniform weights and
    zero bias, as the paper's framework starts a dense layer; the patches are shuffled each epoch
    and the last, smaller batch is used. All randomness comes from `seed` and is drawn on the CPU,
    so the order of the patches is the same on every device. On a CPU it has one thread, and so the
    same numbers whatever PyTorch has.

    `standardise=True` (not in the paper) brings each feature to zero mean and unit variance over
    these patches first, and folds that into the weights afterwards: the probe that is returned
    still takes raw features. It matters where encoders are compared whose features differ in
    scale, because at a fixed learning rate and length the probe of small features underfits.

    Source: section 2.2 of the paper. Raises `DataError` for features that are not finite and for
    labels out of range.
    """
    check_features(features, labels, classes)
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
    weight, bias = start.to(device), torch.zeros(classes, device=device)
    moments, squares = ([torch.zeros_like(p) for p in (weight, bias)] for _ in range(2))
    steps = [torch.zeros((), device=device) for _ in range(2)]
    memory = torch.empty_like(x[:batch])  # new memory for every batch costs a third of the time
    # A step is too little to be shared: two threads wait for each other longer than they work, and
    # where other work holds a core, fifty times as long.
    with torch.autocast(device.type, enabled=False), threads(1):
        for _ in range(epochs):
            order = torch.randperm(len(x), generator=draw).to(device)
            for first in range(0, len(x), batch):
                rows = order[first : first + batch]
                inputs = torch.index_select(x, 0, rows, out=memory[: len(rows)])
                # The gradient of the mean cross-entropy, by hand: autograd costs more than it.
                # Classes stand in rows, for the product of a wide matrix is half as long this way.
                scores = torch.addmm(bias[:, None], weight, inputs.T)
                error = (scores.softmax(0) - target[rows].T) / len(rows)
                # `torch.optim.Adam` looks for a GPU at every step, which takes longer than it.
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
