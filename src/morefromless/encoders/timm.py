"""Image encoders from timm."""

import inspect
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from morefromless.encoders import Encoder
from morefromless.encoders._weights import load_weights, read_weights
from morefromless.errors import ConfigError, first_line, near_names
from morefromless.specs import SCHEMES

RESERVED_ARGUMENTS = (
    "num_classes",
    "in_chans",
    "features_only",
    "checkpoint_path",
    "pretrained_cfg",
)
"""timm arguments that this class sets, or that would load unchecked weights."""


class Timm(Encoder):
    """Any timm model that returns one feature vector per image.

    `timm:resnet50`, or just `resnet50`, has random initialisation, as in the paper (2.2).
    `resnet50:pretrained=true` uses timm's pretrained weights, which may be downloaded, and
    `hf-hub:owner/name:pretrained=true` uses the Hugging Face Hub.
    `resnet50:weights=/path/to/file.safetensors` loads a local file without network access. From a
    run's weights.safetensors, it loads the encoder of the primary branch and its image size. All
    tensors of a file must match, except the classifier. Other arguments are passed to timm:
    `vit_small_patch16_224:img_size=96`.

    Images in [0, 1] are normalised with `mean` and `std`: one number, or one number per channel,
    joined by slashes. The defaults are those of the weights file if it states them, else those of
    timm's configuration of the model, averaged if `channels` is not 3. They are saved with the
    weights. timm's ResNet-50 is v1.5 (stride in the 3 x 3 convolution). The authors' ResNet-50 is
    Keras' v1, which is `keras-v1` (`docs/encoders.md`).

    Raises `ConfigError` for an unknown name (with similar names) or argument, for weights that do
    not match, and for a weights file without known normalisation.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        weights: Path | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        channels: int = 3,
        **arguments: Any,
    ) -> None:
        super().__init__()
        if pretrained and weights is not None:
            raise ConfigError(f"'{name}' has both pretrained=true and weights={weights}; give one.")
        for key in RESERVED_ARGUMENTS:
            if key in arguments:
                raise ConfigError(f"'{name}' does not accept {key}; remove it.")
        if not name.startswith(SCHEMES):
            _check_name(name)
            if _takes_any_size(name):
                arguments.setdefault("dynamic_img_size", True)
        self.name, self.arguments = name, arguments
        self.pretrained = pretrained or weights is not None
        self.network = _create_network(name, pretrained, channels, arguments)
        config: dict[str, Any] = self.network.pretrained_cfg  # type: ignore[assignment]
        normalisation = config["mean"], config["std"]
        self.input_size = int(config["input_size"][-1])
        if weights is not None:
            file = read_weights(weights, name)
            classifier = config.get("classifier") or ()
            layers = (classifier,) if isinstance(classifier, str) else classifier
            load_weights(self.network, file, name, layers)
            if file.normalisation is None and (mean is None or std is None):
                default = ",".join(
                    f"{key}={'/'.join(map(str, values))}"
                    for key, values in zip(("mean", "std"), normalisation, strict=True)
                )
                raise ConfigError(
                    f"{weights} does not state the normalisation of its images; give mean=... and "
                    f"std=... (timm's values for '{name}': {default})."
                )
            normalisation = file.normalisation or normalisation
            self.input_size = file.size or self.input_size
        self.mean: Tensor
        self.std: Tensor
        for key, given, default in zip(("mean", "std"), (mean, std), normalisation, strict=True):
            self.register_buffer(key, _per_channel(key, given, default, channels))
        self.width = int(self.network.num_features)  # type: ignore[arg-type]
        if hasattr(self.network, "head_hidden_size"):  # wider than num_features in MobileNetV3
            self.width = int(self.network.head_hidden_size)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, S, S) in [0, 1] -> (B, width)."""
        if images.ndim != 4:  # would broadcast to an image
            raise ValueError(f"{self.name} takes images, not vectors")
        features: Tensor = self.network((images - self.mean) / self.std)
        return features

    def stages(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        network: Any = self.network
        if images.ndim != 4 or not hasattr(network, "forward_intermediates"):
            return super().stages(images)
        last, maps = network.forward_intermediates((images - self.mean) / self.std)
        return network.forward_head(last), maps

    def checkpoint_gradients(self) -> None:
        try:
            self.network.set_grad_checkpointing()  # type: ignore[operator]
        except (AssertionError, AttributeError):  # not supported by this timm model
            super().checkpoint_gradients()


def _create_network(
    name: str, pretrained: bool, channels: int, arguments: dict[str, Any]
) -> nn.Module:
    try:
        network: nn.Module = timm.create_model(
            name, pretrained=pretrained, num_classes=0, in_chans=channels, **arguments
        )
    except TypeError as error:
        raise ConfigError(
            f"timm cannot create '{name}' with {', '.join(arguments)} ({first_line(error)}); "
            "remove the arguments that the model does not accept."
        ) from error
    except Exception as error:  # the Hub's client raises arbitrary errors
        raise ConfigError(
            f"timm cannot create '{name}': {first_line(error).rstrip('.')}; without network "
            "access, give the name of a timm model and a local file, as in NAME:weights=FILE."
        ) from error
    return network


def _check_name(name: str) -> None:
    if not timm.is_model(name.partition(".")[0]):
        near = near_names(name, timm.list_models(), 3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() lists them."
        raise ConfigError(f"timm has no model named '{name}'; {hint}")


def _per_channel(
    key: str, override: tuple[float, ...] | None, default: tuple[float, ...], channels: int
) -> Tensor:
    """(1, channels, 1, 1): `override`, as one number or one per channel; else `default`."""
    values = torch.tensor(default if override is None else override)
    if override is not None:
        if len(values) not in (1, channels):
            raise ConfigError(
                f"{key} has {len(values)} numbers for {channels} channels; give one number, or one "
                "per channel."
            )
        numbers = torch.tensor(override, device="cpu")  # `values` may be on the meta device
        if not numbers.isfinite().all() or (key == "std" and not (numbers > 0).all()):
            raise ConfigError(f"{key}={'/'.join(map(str, override))} cannot normalise an image.")
    if len(values) != channels:
        values = values.mean().expand(channels)
    return values.view(1, -1, 1, 1).clone()


def _takes_any_size(name: str) -> bool:
    """Whether the model is a transformer whose position embeddings timm can interpolate."""
    entrypoint = timm.model_entrypoint(name.partition(".")[0])
    module = inspect.getmodule(entrypoint)
    family = getattr(module, "VisionTransformer", None)
    return family is not None and "dynamic_img_size" in inspect.signature(family).parameters
