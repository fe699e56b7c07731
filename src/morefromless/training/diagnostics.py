"""Signs of collapse and divergence, cheap enough to log at any step."""

import torch
from torch import Tensor

from morefromless.errors import TrainingError
from morefromless.objectives import Loss


@torch.no_grad()
def spread(embeddings: Tensor) -> Tensor:
    """Standard deviation over the batch, averaged over dimensions: (N, D) -> scalar.

    0 is a complete collapse; 1 is what VICReg's variance term asks for.
    """
    values = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
    return values.std(dim=0, correction=0).mean()


@torch.no_grad()
def effective_rank(embeddings: Tensor) -> Tensor:
    """How many dimensions the embeddings really use, 1 to min(N, D): (N, D) -> scalar float64.

        exp(-sum_k p_k log p_k),  p_k = sigma_k / sum(sigma)

    over the singular values, without centring. Rank r with equal singular values gives r, a batch
    of equal rows 1, a batch of zeros 0, values that are not finite NaN. A batch of N rows cannot
    show more than N. Source: RankMe, Garrido et al. 2023 (arXiv 2210.02885), equation 1, whose
    guard of 1e-7 inside the logarithm is replaced by leaving out what is rounding error.

    >>> round(effective_rank(torch.eye(5)).item(), 6)
    5.0
    """
    # Squaring the singular values costs half the digits: in float32 the noise of a rank-1 batch
    # of 128 rows would read as a rank of 1.3. Apple's GPUs have no float64.
    values = embeddings.cpu() if embeddings.device.type == "mps" else embeddings
    with torch.autocast(values.device.type, enabled=False):
        values = values.to(torch.float64)
        gram = values @ values.T if values.shape[0] <= values.shape[1] else values.T @ values
    if not gram.isfinite().all():
        return gram.new_tensor(torch.nan)
    squares = torch.linalg.eigvalsh(gram)
    noise = squares[-1] * max(values.shape) * torch.finfo(squares.dtype).eps
    singular = squares[squares > noise].sqrt()
    if len(singular) == 0:
        return gram.new_tensor(0.0)
    entropy: Tensor = torch.special.entr(singular / singular.sum()).sum()
    return entropy.exp()


def check_finite(loss: Loss, step: int) -> None:
    """Raise `TrainingError` that names what is not finite at `step`, and what to try."""
    if loss.total.isfinite():
        return
    values = {name: term.item() for name, term in loss.terms.items()}
    broken = [f"{name} is {v}" for name, v in values.items() if not abs(v) < torch.inf]
    finite = [f"{name} {v:.4g}" for name, v in values.items() if abs(v) < torch.inf]
    what = " and ".join(broken) if broken else f"the total is {loss.total.item()}"
    rest = f" (finite: {', '.join(finite)})" if finite else ""
    raise TrainingError(
        f"Training stopped at step {step} because {what}{rest}; lower the learning rate, use bf16 "
        "or float32 instead of fp16, or look at the views for blank or broken patches."
    )
