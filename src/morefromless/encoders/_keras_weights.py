"""Weights as Keras writes them: HDF5 files that name every layer and variable."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from morefromless.encoders._weights import check_exists, first_line
from morefromless.errors import ConfigError

VARIABLES = {
    nn.Conv2d: {"weight": "kernel", "bias": "bias"},
    nn.BatchNorm2d: {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    },
}
"""Keras' name of each tensor of a layer."""


def load_h5(network: nn.Module, path: Path, name: str) -> None:
    """Load Keras' HDF5 weights into the network of `name`, whose layers have Keras' names.

    The module `conv2.block1.1_conv` takes Keras' layer conv2_block1_1_conv, wherever in the file
    that is: written by `model.save_weights("x.h5")` or `model.save("x.h5")`, of the network, of one
    with more layers, or of a model that holds it as a layer. What else the file holds is ignored.

    Raises `ConfigError` where h5py is not installed, there is no such file, it cannot be read,
    lacks any of the layers, or holds one of them twice.
    """
    check_exists(path, name)
    views = _variables(network)
    stored = _read(path, {variable: tuple(view.shape) for variable, view in views.items()})
    missing = list(dict.fromkeys(v.partition("/")[0] for v in views if v not in stored))
    if missing:
        layers = len({variable.partition("/")[0] for variable in views})
        raise ConfigError(
            f"{path} is not a checkpoint of '{name}': {len(missing)} of {layers} layers are "
            f"missing or of another shape (first: {missing[0]}); give one that Keras 2 wrote with "
            "model.save_weights('encoder.h5')."
        )
    for variable, view in views.items():
        view.copy_(torch.from_numpy(stored[variable]))


def refuse_tensorflows_own(path: Path) -> None:
    """Raise `ConfigError` where `path` is a checkpoint that takes TensorFlow to read."""
    if (
        path.suffix in (".index", ".keras")
        or path.suffix.startswith(".data-")
        or Path(f"{path}.index").is_file()
        or (path / "saved_model.pb").is_file()
    ):
        raise ConfigError(
            f"{path} takes TensorFlow to read, which is not used here; load it into the encoder in "
            "TensorFlow and give what model.save_weights('encoder.h5') writes (docs/encoders.md)."
        )


def _variables(network: nn.Module) -> dict[str, Tensor]:
    """By Keras' name (`conv1_conv/kernel`) a view of each tensor, laid out as Keras does."""
    views = {}
    for module, part in network.named_modules():
        for ours, variable in VARIABLES.get(type(part), {}).items():
            tensor: Tensor = getattr(part, ours).detach()
            if tensor.ndim == 4:  # (out, in, h, w); Keras': (h, w, in, out)
                tensor = tensor.permute(2, 3, 1, 0)
            views[f"{module.replace('.', '_')}/{variable}"] = tensor
    return views


def _read(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, npt.NDArray[np.float32]]:
    """The variables of these names and shapes, wherever they are in the file."""
    try:
        import h5py
    except ImportError as error:
        raise ConfigError(
            f"Reading {path.name} takes h5py, which is not installed; install it with pip install "
            "'morefromless[expression]'."
        ) from error
    places: dict[str, list[str]] = {}

    def visit(place: str, item: Any) -> None:
        variable = "/".join(place.split("/")[-2:]).removesuffix(":0")
        if variable in shapes and item.shape == shapes[variable] and item.dtype.kind == "f":
            places.setdefault(variable, []).append(place)

    try:
        with h5py.File(path) as file:
            # A whole model has its weights beside the optimiser's moments of the same names.
            weights = file.get("model_weights", file)
            weights.visititems(visit)
            stored = {v: np.asarray(weights[where[0]], np.float32) for v, where in places.items()}
    except Exception as error:  # the reader raises whatever the file provokes
        raise ConfigError(
            f"{path} cannot be read as HDF5 ({first_line(error)}); write or fetch it again."
        ) from error
    for variable, where in places.items():
        if len(where) > 1:
            raise ConfigError(
                f"{path} holds {variable} {len(where)} times ({', '.join(where)}); write a file of "
                "the one encoder that is meant."
            )
    return stored
