"""Encoders: networks from a branch's input to a representation. An open set.

Encoders never get labels. To add an encoder, add a file with one public class deriving from
`Encoder`.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from morefromless.errors import ConfigError, first_line
from morefromless.specs import SCHEMES, Member, build, members, normalise, split

ENCODER_KEY = "encoder"
"""Key of a run's `encoder.json` in the metadata of its weights."""


class Encoder(Member, nn.Module, ABC):
    """A network from an image or a vector to a representation."""

    width: int
    """Length of the representation (2048 for ResNet-50)."""
    pretrained: bool = False
    """Whether it starts from trained weights; only such an encoder can be frozen."""

    input_size: int = 224
    """Side in px of the images that its pretrained weights, if any, were trained on."""

    def __init__(self) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """(B, C, S, S) float32 in [0, 1] -> (B, width). Input normalisation happens inside.

        C is 3 unless the modality has other channels; an encoder for such modalities has a
        parameter `channels`. An encoder of vectors takes (B, C).
        """

    def stages(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The representation, and the feature maps of each stage, first to last.

        (B, C, S, S) -> (B, width), [(B, channels, H, W), ...]. Raises `ConfigError` if the network
        has no stages.
        """
        del images
        raise ConfigError(
            f"The encoder {type(self).__name__} has no stages of feature maps, which attention "
            "transfer requires; use a convolutional network or a transformer of timm."
        )

    def checkpoint_gradients(self) -> None:
        """Enable gradient checkpointing: hold the activations of one block at a time, and recompute
        them in the backward pass. Raises `ConfigError` if the encoder does not support it."""
        raise ConfigError(
            f"Encoder '{self.spec}' does not support --gradient-checkpointing; use --accumulate."
        )


def build_encoder(spec: str, channels: int = 3) -> Encoder:
    """Build the encoder that `spec` names: a member of the open set, or a timm model name.

    >>> build_encoder("mlp:hidden=8", channels=40).width
    8
    """
    extra = {} if channels == 3 else {"channels": channels}
    return build(_member(spec), sys.modules[__name__], Encoder, **extra)


def normalise_encoder(spec: str, *, without: Collection[str] = ()) -> str:
    """The canonical specification of an encoder, without the parameters `without`.

    >>> normalise_encoder("timm:resnet50,pretrained=false")
    'resnet50'
    """
    text = normalise(_member(spec), sys.modules[__name__], Encoder, without=without)
    if not text.startswith("timm:"):
        return text
    return text.removeprefix("timm:").replace(",", ":", 1)


def without_weights(encoder: str) -> str:
    """The specification of the same architecture without weights."""
    return normalise_encoder(encoder, without=("pretrained", "weights"))


def tensors_below(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors whose names start with `prefix`, by the rest of their names.

    >>> tensors_below("encoder.", {"encoder.bias": 1, "expander.bias": 2})
    {'bias': 1}
    """
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


@cache  # studies repeat encoders, and each takes 0.1 s or more
def check_encoder(
    spec: str, shape: tuple[int, ...], frozen: bool = False, checkpointing: bool = False
) -> int:
    """Build an encoder, try it on two blank images or vectors of `shape`, and return its width.

    Raises `ConfigError`, before training, if a run would fail at its first step. A `frozen` encoder
    must have weights. With `checkpointing`, a trained encoder must support gradient checkpointing.
    """
    inputs = (
        f"images of {shape[1]} x {shape[2]} px" if len(shape) == 3 else f"vectors of {shape[0]}"
    )
    encoder = build_encoder(spec, shape[0]).eval()
    if frozen and not encoder.pretrained:
        raise ConfigError(
            f"The frozen encoder '{spec}' has random weights, which are never trained; give "
            f"weights=FILE or pretrained=true, or an encoder that is `pretrained`."
        )
    if checkpointing and not frozen:
        encoder.checkpoint_gradients()
    try:
        with torch.no_grad():
            output = encoder(torch.zeros(2, *shape))
    except (RuntimeError, AssertionError, ValueError) as error:
        hint = "another --size or another encoder" if len(shape) == 3 else "mlp for them"
        raise ConfigError(
            f"Encoder '{spec}' does not accept {inputs} ({first_line(error)}); use {hint}."
        ) from error
    if not isinstance(output, Tensor):
        raise ConfigError(
            f"Encoder '{spec}' returns a {type(output).__name__}; its forward must return one "
            f"tensor (patches, {encoder.width})."
        )
    if output.shape != (2, encoder.width):
        raise ConfigError(
            f"Encoder '{spec}' returns {tuple(output.shape[1:])} per image, not one vector of "
            f"{encoder.width}; use an encoder with pooled features."
        )
    return encoder.width


def _member(spec: str) -> str:
    """Convert a timm model name to a specification of the member `timm`."""
    name, arguments = split(spec)
    scheme = name.startswith(SCHEMES)
    if name in members(sys.modules[__name__], Encoder) or (":" in name and not scheme):
        return spec
    return f"timm:{name}" + (f",{arguments}" if arguments else "")
