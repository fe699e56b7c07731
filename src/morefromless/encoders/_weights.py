"""Loading of local weights files, for encoders with the same parameter names as the file."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from morefromless.documents import parse_json, read_json
from morefromless.encoders import ENCODER_KEY, tensors_below
from morefromless.errors import ConfigError, first_few, first_line

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel."""


@dataclass(frozen=True)
class Weights:
    """Contents of a file: tensors by name and, if stated, the preprocessing of their training."""

    path: Path
    tensors: Mapping[str, Any]
    normalisation: Normalisation | None = None
    size: int | None = None
    """Side in px of the images."""


def read_weights(path: Path, name: str) -> Weights:
    """Read safetensors, or a PyTorch file that holds tensors only, for the encoder `name`.

    From a run's weights.safetensors, it loads the encoder of the primary branch. Normalisation and
    image size come from the run. For other files, `mean` and `std` come from the file's metadata or
    from a `config.json` next to it (as timm and the Hub write it), and `input_size` from the
    `config.json`. Raises `ConfigError` if the file is missing or cannot be read.
    """
    if not path.is_file():
        raise ConfigError(f"There is no weights file {path} for '{name}'; check the path.")
    metadata: dict[str, str] = {}
    normalisation = None
    try:
        if path.suffix == ".safetensors":
            state: dict[str, Any] = load_file(path)
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
            if {"mean", "std"} <= set(metadata):
                normalisation = _normalisation(
                    {k: parse_json(metadata[k], list) for k in ("mean", "std")}
                )
        else:  # weights_only: a file from elsewhere must not run code
            state = torch.load(path, map_location="cpu", weights_only=True)
        for wrapper in ("state_dict", "model"):  # common wrappers in training scripts
            state = state.get(wrapper, state)
        encoder = _run_encoder(state)
        network = tensors_below("network.", encoder)
        config = _read_config(path)
        normalisation = normalisation or _normalisation(encoder) or _normalisation(config)
        size = _size(metadata, config)
    except Exception as error:  # the readers raise arbitrary errors
        raise ConfigError(
            f"{path} cannot be read as weights ({first_line(error)}); "
            "give a .safetensors file or a PyTorch file that holds tensors only."
        ) from error
    return Weights(path, network or state, normalisation, size)


def load_weights(
    network: nn.Module, weights: Weights, name: str, classifier: Collection[str] = ()
) -> None:
    """Load all weights into the network of `name`, except the layers of a `classifier`.

    Raises `ConfigError` with the tensors that are missing in the file, are missing in the network,
    or have another shape.
    """
    expected = network.state_dict()
    prefixes = tuple(f"{layer}." for layer in classifier)
    tensors = {
        key: value
        for key, value in weights.tensors.items()
        if key in expected or not key.startswith(prefixes)
    }
    shapes = {
        key: f"{key} is {_shape(value)}, not {_shape(expected[key])}"
        for key, value in tensors.items()
        if key in expected and _shape(value) != _shape(expected[key])
    }
    reasons = {
        "the file has no": [key for key in expected if key not in tensors],
        "the encoder has no": [key for key in tensors if key not in expected],
        "shapes differ:": list(shapes.values()),
    }
    reason = "; ".join(f"{what} {first_few(keys)}" for what, keys in reasons.items() if keys)
    if reason:
        scale = any(key.endswith((".gamma", ".gamma_1")) for key in reasons["the encoder has no"])
        raise ConfigError(
            f"{weights.path} is not a checkpoint of '{name}' ({reason}); use the encoder that it "
            f"was saved from{', with LayerScale (init_values=1e-5)' if scale else ''}."
        )
    network.load_state_dict(tensors)


def _shape(value: Any) -> str:
    return " x ".join(map(str, value.shape)) or "one number" if isinstance(value, Tensor) else "?"


def _run_encoder(state: dict[str, Any]) -> dict[str, Any]:
    """The encoder of the primary branch if these are the weights of a run, else an empty dict."""
    for prefix in (
        "branches.by_key.shared.encoder.",
        "branches.by_key.primary.encoder.",
        "encoder.",
    ):
        encoder = tensors_below(prefix, state)
        if any(key.startswith("network.") for key in encoder):
            return encoder
    return {}


def _read_config(path: Path) -> Mapping[str, Any]:
    """The configuration in a `config.json` next to the weights, if there is one."""
    file = path.with_name("config.json")
    if not file.is_file():
        return {}
    config = read_json(file, dict)
    stated: Mapping[str, Any] = config.get("pretrained_cfg", config)
    return stated


def _size(metadata: Mapping[str, str], config: Mapping[str, Any]) -> int | None:
    """Side in px of the images, from a run's metadata or a `config.json`."""
    if ENCODER_KEY in metadata:
        branches = parse_json(metadata[ENCODER_KEY], dict)["branches"]
        branch = branches.get("primary") or next(iter(branches.values()))
        return int(branch["preprocessing"]["size"])
    return int(config["input_size"][-1]) if "input_size" in config else None


def _normalisation(values: Mapping[str, Any]) -> Normalisation | None:
    if not {"mean", "std"} <= set(values):
        return None
    mean, std = (torch.as_tensor(values[key]).flatten().tolist() for key in ("mean", "std"))
    return tuple(mean), tuple(std)
