"""The whole batch on every process, so that an objective never knows how many there are."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from morefromless.errors import TrainingError


def gather(embeddings: Tensor) -> Tensor:
    """All processes' rows in rank order: (N, D) -> (N * processes, D); itself on one process.

    Differentiable, so that every process can compute the loss of the whole batch and, after
    DistributedDataParallel's mean over processes, hold the gradients that one process would have
    had with the whole batch. Every process must call it with the same number of rows; raises
    `TrainingError` on all of them otherwise.
    """
    if not _several():
        return embeddings
    _check_rows(embeddings)
    gathered: Tensor = _Gather.apply(embeddings.contiguous())  # type: ignore[no-untyped-call]
    return gathered


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of `values` over all processes, of the same shape; `values` itself on one process.

    Differentiable: the backward pass sums the gradients of all processes. Together with `gather`,
    whose gradients carry the process count, parameters get the gradients of a single process.
    """
    if not _several():
        return values
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _Gather(torch.autograd.Function):
    """Forward, an all-gather. Backward, the own rows of the gradient times the process count.

    With L the loss of the whole batch and g_r = dL/dz_r the gradient of process r's rows, the
    parameters' gradient is sum_r J_r' g_r. Process r can only form its own summand, and DDP
    divides the sum of what the processes hand over by their count; handing over J_r' (count * g_r)
    cancels that. Every process has computed the same L from the same rows, so its own slice of the
    gradient is already g_r: summing slices over processes, as `torch.distributed.nn.all_gather`
    does, would only move count times as much data to add equal numbers.
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
    """One integer per process: an all-gather of unequal sizes would hang or mix up memory."""
    local = torch.tensor([len(embeddings)], device=embeddings.device)
    parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, local)
    sizes = torch.cat(parts).tolist()
    if len(set(sizes)) > 1:
        raise TrainingError(
            f"The processes hold batches of different sizes ({', '.join(map(str, sizes))} in rank "
            "order); drop the last incomplete batch or use a data set size that divides evenly."
        )
