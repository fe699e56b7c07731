"""Random draws: one value per patch from the given generator, without device synchronisation."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from morefromless.errors import ConfigError

_BLOCK_PIXELS = 2**17
"""Pixels per block on a CPU, so that intermediate floats stay in the cache."""

_SYNCHRONOUS_DEVICES = ("cpu",)
"""Devices whose values can be read without waiting."""


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """(count,) uniform draws from [low, high)."""
    return low + (high - low) * torch.rand(count, generator=generator, device=generator.device)


def bernoulli(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """(count,) bool, each true with `probability`: never with 0, always with 1."""
    return torch.rand(count, generator=generator, device=generator.device) < probability


def per_patch(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1), to broadcast over images."""
    return values[:, None, None, None]


def apply_where(
    mask: Tensor, images: Tensor, change: Callable[..., Tensor], *parameters: Tensor
) -> Tensor:
    """Replace the images where `mask` is true by `change(images, *parameters)`, maybe in place.

    On a CPU, only these images are computed. On other devices, all are computed, so that the
    program does not wait for the device.
    """
    if images.device.type not in _SYNCHRONOUS_DEVICES:
        return torch.where(per_patch(mask), change(images, *parameters), images)
    if mask.all():
        return change(images, *parameters)
    if mask.any():
        images[mask] = change(images[mask], *(values[mask] for values in parameters))
    return images


def blocks(images: Tensor) -> Iterator[slice]:
    """Slices of the batch that are processed together; on a GPU, the whole batch."""
    count, side = len(images), images.shape[-1]
    step = (
        max(1, _BLOCK_PIXELS // side**2)
        if images.device.type in _SYNCHRONOUS_DEVICES
        else max(1, count)
    )
    return (slice(start, start + step) for start in range(0, count, step))


def check_range(preset: object, names: str, low: float, high: float) -> None:
    """Raise `ConfigError` unless every field of `preset` in `names` is in [low, high]."""
    for name in names.split():
        value = vars(preset)[name]
        if not low <= value <= high:
            raise ConfigError(
                f"{type(preset).__name__} cannot use {name}={value}; "
                f"choose a value from {low} to {high}."
            )
