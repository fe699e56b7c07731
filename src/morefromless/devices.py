"""Where networks run: the one place that decides, and refuses."""

import os

import torch

from morefromless.config import Device
from morefromless.errors import ConfigError


def resolve_device(device: Device = "auto") -> str:
    """`cuda` or `cpu` for what a person asked: auto is a GPU where PyTorch has one.

    Raises `ConfigError` where `gpu` is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if device == "gpu" and not available:
        raise ConfigError("--device gpu was asked for, but PyTorch has no GPU here; use cpu.")
    return "cuda" if available and device != "cpu" else "cpu"


def available_gpus(device: Device = "auto") -> list[str]:
    """The GPUs that may be used, as CUDA_VISIBLE_DEVICES names them; none for `cpu`."""
    if resolve_device(device) == "cpu":
        return []
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[:count] if visible else [str(number) for number in range(count)]
