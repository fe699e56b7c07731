"""BatchNorm over all processes, equal to BatchNorm over the whole batch in one process."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from morefromless.training.gather import sum_over_processes


def synchronise(network: nn.Module, device: str) -> nn.Module:
    """Synchronise the BatchNorms of `network`; parameters, buffers and their names stay the same.

    On GPUs, uses PyTorch's SyncBatchNorm, inserted by timm. timm's conversion keeps the activation
    that timm's own BatchNorm contains; the conversions of PyTorch and Lightning lose it. PyTorch's
    SyncBatchNorm does not support CPU tensors, so CPUs use `CpuSyncBatchNorm`.
    """
    if device == "cuda":
        from timm.layers.norm_act import convert_sync_batchnorm  # lazy: it imports all of timm

        converted: nn.Module = convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted
    if isinstance(network, _BatchNorm):
        return CpuSyncBatchNorm(network)
    for name, part in network.named_children():
        setattr(network, name, synchronise(part, device))
    return network


class CpuSyncBatchNorm(nn.Module):
    """BatchNorm that trains with the mean and variance of the rows of all processes."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        self.momentum, self.eps = norm.momentum, norm.eps
        # timm's BatchNormAct2d applies these two afterwards
        self.drop, self.act = (getattr(norm, name, nn.Identity()) for name in ("drop", "act"))
        self.train(norm.training)

    def forward(self, values: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape."""
        if self.training:
            mean, variance = self._statistics(values)
        else:
            mean, variance = self.running_mean, self.running_var
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        normalised = (values - _along(mean, values)) * _along(scale, values)
        if self.bias is not None:
            normalised = normalised + _along(self.bias, values)
        activated: Tensor = self.act(self.drop(normalised.to(values.dtype)))
        return activated

    def _statistics(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance of each channel over all processes, in float32 or float64."""
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        axes = [0, *range(2, values.ndim)]
        count = sum_over_processes(values.new_tensor(values.numel() // values.shape[1]))
        mean = sum_over_processes(values.sum(axes)) / count
        variance = sum_over_processes((values - _along(mean, values)).square().sum(axes)) / count
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            share = self.momentum or 1 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean.to(self.running_mean), share)
            unbiased = variance * count / (count - 1)
            self.running_var.lerp_(unbiased.to(self.running_var), share)
        return mean, variance


def _along(channels: Tensor, values: Tensor) -> Tensor:
    """Reshape (C,) so that it broadcasts over (N, C, ...)."""
    return channels.view(1, -1, *[1] * (values.ndim - 2))
