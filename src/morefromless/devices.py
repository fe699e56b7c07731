"""Where tensors are computed."""

import torch

from morefromless.errors import ConfigError
from morefromless.options import Device


def resolve_device(name: Device) -> torch.device:
    """The device that `auto`, `cpu` or `gpu` means here; `auto` is a GPU where there is one.

    Raises `ConfigError` for `gpu` where PyTorch sees none.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if name == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if name == "gpu":
        raise ConfigError(
            "--device gpu was asked for, but PyTorch sees no GPU here; give cpu or auto."
        )
    return torch.device("cpu")
