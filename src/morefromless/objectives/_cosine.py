"""Functions shared by objectives on cosine similarities."""

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(first: Tensor, second: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Loss per patch in both directions: (N, D), (N, D) with rows of norm 1 -> (N,), (N,)."""
    logits = first @ second.T / temperature
    positives = torch.arange(len(first), device=first.device)
    first_to_second = F.cross_entropy(logits, positives, reduction="none")
    second_to_first = F.cross_entropy(logits.T, positives, reduction="none")
    return first_to_second, second_to_first


def unit_rows(embedding: Tensor) -> Tensor:
    """Divide rows by their norm; a row of zeros stays unchanged: (N, D) -> (N, D)."""
    norm = torch.linalg.vector_norm(embedding, dim=1, keepdim=True)
    return embedding / torch.where(norm > 0, norm, 1.0)
