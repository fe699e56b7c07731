"""Gathering of the whole batch on every process, so that objectives need no distributed code."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from morefromless.errors import TrainingError


def gather(embeddings: Tensor) -> Tensor:
    """Gather the rows of all processes in rank order: (N, D) -> (N * processes, D).

    Returns `embeddings` itself on one process. Differentiable: every process can compute the loss
    of the whole batch. After DistributedDataParallel's mean over processes, the gradients are those
    of one process with the whole batch. Raises `TrainingError` on all processes if their numbers of
    rows differ.
    """
    if not _is_distributed():
        return embeddings
    _check_rows(embeddings)
    gathered: Tensor = _Gather.apply(embeddings.contiguous())  # type: ignore[no-untyped-call]
    return gathered


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum `values` over all processes. Returns `values` itself on one process.

    Differentiable: the backward pass sums the gradients of all processes. `gather` multiplies
    gradients by the process count, so parameters get the gradients of a single process.
    """
    if not _is_distributed():
        return values
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _Gather(torch.autograd.Function):
    """Forward: all-gather. Backward: the process' own rows of the gradient times the process count.

    Let L be the loss of the whole batch and g_r = dL/dz_r the gradient of the rows of process r.
    The gradient of the parameters is sum_r J_r' g_r. Process r computes only its own summand, and
    DDP divides the sum over processes by their count. Multiplying g_r by the count cancels this
    division. Every process computes the same L from the same rows, so its own slice of the gradient
    is already g_r. A sum of slices over processes, as in `torch.distributed.nn.all_gather`, would
    move count times as much data only to add equal numbers.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.count, ctx.rank = dist.get_world_size(), dist.get_rank()
        parts = [torch.empty_like(rows) for _ in range(ctx.count)]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        local: Tensor = gradients[0].chunk(ctx.count)[ctx.rank] * ctx.count
        return local


class _Sum(torch.autograd.Function):
    """An all-reduce, forward and backward."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        del ctx
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def _check_rows(embeddings: Tensor) -> None:
    """Compare the row counts first: an all-gather of unequal sizes hangs or corrupts memory."""
    local = torch.tensor([len(embeddings)], device=embeddings.device)
    parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, local)
    sizes = torch.cat(parts).tolist()
    if len(set(sizes)) > 1:
        raise TrainingError(
            f"The processes hold batches of different sizes ({', '.join(map(str, sizes))} in rank "
            "order); drop the last incomplete batch or use a data set size that divides evenly."
        )
