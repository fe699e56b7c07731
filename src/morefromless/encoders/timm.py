"""Image encoders by their timm names."""

import difflib
import inspect
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from morefromless.encoders import Encoder
from morefromless.errors import ConfigError


class Timm(Encoder):
    """Any timm model that yields one feature vector per image.

    `timm:resnet50`, or just `resnet50`, is random initialisation, as in the paper (2.2).
    `resnet50:pretrained=true` asks timm for its weights, which may download them;
    `resnet50:weights=/path/to/file.safetensors` loads a local file and never touches the network;
    of a run's weights.safetensors it takes the encoder of the primary branch.
    Images in [0, 1] are normalised with the mean and standard deviation of timm's configuration
    of the model, averaged where `channels` is not 3. timm's ResNet-50 is v1.5 (stride in the 3 x 3
    convolution); the authors' is Keras' v1 (`docs/architecture.md`, "Departures").

    Raises `ConfigError` for an unknown name (with near ones) and for weights that do not fit.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        weights: Path | None = None,
        channels: int = 3,
    ) -> None:
        super().__init__()
        if not timm.is_model(name.partition(".")[0]):
            near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() lists them."
            raise ConfigError(f"timm has no model named '{name}'; {hint}")
        if pretrained and weights is not None:
            raise ConfigError(f"'{name}' has both pretrained=true and weights={weights}; give one.")
        options: dict[str, Any] = {"dynamic_img_size": True} if _takes_any_size(name) else {}
        try:
            self.network: nn.Module = timm.create_model(
                name, pretrained=pretrained, num_classes=0, in_chans=channels, **options
            )
        except (RuntimeError, OSError) as error:
            raise ConfigError(
                f"timm cannot make '{name}': {_first_line(error)}; without a network, give "
                f"'{name}:weights=FILE' with a local file."
            ) from error
        if weights is not None:
            _load(self.network, weights, name)
        self.name = name
        self.width = int(self.network.num_features)  # type: ignore[arg-type]
        if hasattr(self.network, "head_hidden_size"):  # wider than num_features in MobileNetV3
            self.width = int(self.network.head_hidden_size)  # type: ignore[arg-type]
        config = self.network.pretrained_cfg
        self.mean: Tensor
        self.std: Tensor
        for key in ("mean", "std"):
            values = torch.tensor(config[key]).view(1, -1, 1, 1)  # type: ignore[index]
            if channels != values.shape[1]:
                values = values.mean().expand(1, channels, 1, 1).clone()
            self.register_buffer(key, values, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, S, S) in [0, 1] -> (B, width)."""
        if images.ndim != 4:  # would be broadcast into one image of as many rows
            raise ValueError(f"{self.name} takes images, not vectors")
        features: Tensor = self.network((images - self.mean) / self.std)
        return features


def _takes_any_size(name: str) -> bool:
    """Transformers interpolate their position embeddings where timm lets them."""
    entrypoint = timm.model_entrypoint(name.partition(".")[0])
    module = inspect.getmodule(entrypoint)
    family = getattr(module, "VisionTransformer", None)
    return family is not None and "dynamic_img_size" in inspect.signature(family).parameters


def _load(network: nn.Module, path: Path, name: str) -> None:
    """Weights of a local file: safetensors, or a PyTorch file that holds tensors only."""
    if not path.is_file():
        raise ConfigError(f"There is no weights file {path} for '{name}'; check the path.")
    try:
        if path.suffix == ".safetensors":
            state: dict[str, Any] = load_file(path)
        else:  # weights_only: a file from elsewhere is data, never a program
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise whatever the file provokes
        raise ConfigError(
            f"{path} cannot be read as weights ({_first_line(error)}); "
            "give a .safetensors file or a PyTorch file that holds tensors only."
        ) from error
    for wrapper in ("state_dict", "model"):  # how training scripts wrap what they save
        state = state.get(wrapper, state)
    state = _of_a_run(state)
    known = network.state_dict()
    # A published checkpoint holds its classifier too, which an encoder does not have.
    fitting = {k: v for k, v in state.items() if k in known and v.shape == known[k].shape}
    missing = [key for key in known if key not in fitting]
    if missing:
        raise ConfigError(
            f"{path} is not a checkpoint of '{name}': {len(missing)} of {len(known)} tensors are "
            f"missing or of another shape (first: {missing[0]}); choose the encoder it was made of."
        )
    network.load_state_dict(fitting)


def _of_a_run(state: dict[str, Any]) -> dict[str, Any]:
    """The encoder of the primary branch where these are the weights of a run, else all of them."""
    for prefix in ("branches.own.shared.", "branches.own.primary.", ""):
        start = f"{prefix}encoder.network."
        own = {key.removeprefix(start): state[key] for key in state if key.startswith(start)}
        if own:
            return own
    return state


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
