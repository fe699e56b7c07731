"""Measures of collapse and divergence, cheap enough to log at any step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from morefromless.errors import TrainingError


@dataclass(frozen=True)
class Measure:
    """A logged number: `tensor` is computed on the device, then `finish` runs on the CPU."""

    tensor: Tensor
    finish: Callable[[Tensor], float] = float


def start_copy(measures: Mapping[str, Measure]) -> Callable[[], dict[str, float]]:
    """Start copying measures from the device. The returned function waits for the copies, but not
    for work that is queued on a GPU later."""
    cuda = {m.tensor.device for m in measures.values() if m.tensor.device.type == "cuda"}
    copies = {
        name: measure.tensor.detach().to("cpu", non_blocking=measure.tensor.device in cuda)
        for name, measure in measures.items()
    }
    events = [torch.cuda.current_stream(device).record_event() for device in cuda]

    def read() -> dict[str, float]:
        for event in events:
            event.synchronize()
        return {name: measures[name].finish(copy) for name, copy in copies.items()}

    return read


@torch.no_grad()
def spread(embeddings: Tensor) -> Measure:
    """Standard deviation over the batch, averaged over dimensions, of (N, D).

    0 is a complete collapse; 1 is the target of VICReg's variance term.
    """
    values = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
    return Measure(values.std(dim=0, correction=0).mean())


def effective_rank(embeddings: Tensor) -> Measure:
    """Effective number of dimensions of embeddings (N, D), from 1 to min(N, D).

        exp(-sum_k p_k log p_k),  p_k = sigma_k / sum(sigma)

    over the singular values, without centring. Rank r with equal singular values gives r, equal
    rows give 1, zeros give 0, and non-finite values give NaN. Source: RankMe, Garrido et al. 2023
    (arXiv 2210.02885), equation 1. Instead of its 1e-7 inside the logarithm, singular values that
    are rounding errors are excluded.

    >>> round(start_copy({"rank": effective_rank(torch.eye(5))})()["rank"], 6)
    5.0
    """
    longest = max(embeddings.shape)
    return Measure(_gram(embeddings), lambda gram: _rank(gram, longest))


@torch.no_grad()
def _gram(embeddings: Tensor) -> Tensor:
    """The smaller of the two Gram matrices. Its eigenvalues are the squares of the singular
    values."""
    # Squaring the singular values loses half of the digits: in float32, the noise of a rank-1
    # batch of 128 rows would give a rank of 1.3. Apple's GPUs have no float64.
    values = embeddings.cpu() if embeddings.device.type == "mps" else embeddings
    with torch.autocast(values.device.type, enabled=False):
        values = values.to(torch.float64)
        return values @ values.T if values.shape[0] <= values.shape[1] else values.T @ values


def _rank(gram: Tensor, longest: int) -> float:
    if not gram.isfinite().all():
        return float("nan")
    squares = torch.linalg.eigvalsh(gram)
    noise = squares[-1] * longest * torch.finfo(squares.dtype).eps
    singular = squares[squares > noise].sqrt()
    if len(singular) == 0:
        return 0.0
    return float(torch.special.entr(singular / singular.sum()).sum().exp())


def check_finite(total: float, terms: Mapping[str, float], step: int) -> None:
    """Raise `TrainingError` with the non-finite terms and a remedy if the loss is not finite."""
    if abs(total) < torch.inf:
        return
    nonfinite = [f"{name} is {v}" for name, v in terms.items() if not abs(v) < torch.inf]
    finite = [f"{name} {v:.4g}" for name, v in terms.items() if abs(v) < torch.inf]
    what = " and ".join(nonfinite) if nonfinite else f"the total is {total}"
    rest = f" (finite: {', '.join(finite)})" if finite else ""
    raise TrainingError(
        f"Training stopped at step {step} because {what}{rest}; lower the learning rate, use bf16 "
        "or float32 instead of fp16, or check the views for blank or broken patches."
    )
