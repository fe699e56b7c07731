"""Image encoders by their timm names."""

import difflib
import inspect
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from morefromless.encoders import Encoder
from morefromless.encoders._weights import first_line, load_weights
from morefromless.errors import ConfigError


class Timm(Encoder):
    """Any timm model that yields one feature vector per image.

    `timm:resnet50`, or just `resnet50`, is random initialisation, as in the paper (2.2).
    `resnet50:pretrained=true` asks timm for its weights, which may download them;
    `resnet50:weights=/path/to/file.safetensors` loads a local file and never touches the network;
    of a run's weights.safetensors it takes the encoder of the primary branch.
    Images in [0, 1] are normalised with the mean and standard deviation of timm's configuration
    of the model, averaged where `channels` is not 3. timm's ResNet-50 is v1.5 (stride in the 3 x 3
    convolution); the authors' is Keras' v1, which is `keras-v1` (`docs/encoders.md`).

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
                f"timm cannot make '{name}': {first_line(error)}; without a network, give "
                f"'{name}:weights=FILE' with a local file."
            ) from error
        if weights is not None:
            load_weights(self.network, weights, name)
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
