"""Weights of local files, for encoders whose parameters are called as in the file."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from morefromless.errors import ConfigError


def load_weights(network: nn.Module, path: Path, name: str) -> None:
    """Load safetensors, or a PyTorch file that holds tensors only, into the network of `name`.

    Of a run's weights.safetensors it takes the encoder of the primary branch. Raises `ConfigError`
    where there is no such file, or it cannot be read, or lacks any of the network's tensors.
    """
    check_exists(path, name)
    try:
        if path.suffix == ".safetensors":
            state: dict[str, Any] = load_file(path)
        else:  # weights_only: a file from elsewhere is data, never a program
            state = torch.load(path, map_location="cpu", weights_only=True)
        for wrapper in ("state_dict", "model"):  # how training scripts wrap what they save
            state = state.get(wrapper, state)
        state = _of_a_run(state)
    except Exception as error:  # the readers raise whatever the file provokes
        raise ConfigError(
            f"{path} cannot be read as weights ({first_line(error)}); "
            "give a .safetensors file or a PyTorch file that holds tensors only."
        ) from error
    known = network.state_dict()
    # A published checkpoint holds its classifier too, which an encoder does not have.
    fitting = {
        key: value
        for key, value in state.items()
        if key in known and isinstance(value, Tensor) and value.shape == known[key].shape
    }
    missing = [key for key in known if key not in fitting]
    if missing:
        raise ConfigError(
            f"{path} is not a checkpoint of '{name}': {len(missing)} of {len(known)} tensors are "
            f"missing or of another shape (first: {missing[0]}); choose the encoder it was made of."
        )
    network.load_state_dict(fitting)


def check_exists(path: Path, name: str) -> None:
    """Raise `ConfigError` where the weights of `name` are no file."""
    if not path.is_file():
        raise ConfigError(f"There is no weights file {path} for '{name}'; check the path.")


def first_line(error: BaseException) -> str:
    """What a reader has to say, without the rest of it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _of_a_run(state: dict[str, Any]) -> dict[str, Any]:
    """The encoder of the primary branch where these are the weights of a run, else all of them."""
    for prefix in ("branches.own.shared.", "branches.own.primary.", ""):
        start = f"{prefix}encoder.network."
        own = {key.removeprefix(start): state[key] for key in state if key.startswith(start)}
        if own:
            return own
    return state
