"""Encoders: networks from what a branch sees to a representation. An open set.

Encoders never see labels. To add one, add a file with one public class deriving from `Encoder`.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from morefromless.errors import ConfigError
from morefromless.specs import Member


class Encoder(Member, nn.Module, ABC):
    """Representation of an image."""

    width: int
    """Length of the representation (2048 for ResNet-50)."""
    pretrained: bool = False
    """Whether it begins from trained weights; only such an encoder can be frozen."""

    input_size: int = 224
    """Side in px of the images that its first weights were trained on, where it has any."""

    def __init__(self) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """(B, C, S, S) float32 in [0, 1] -> (B, width). Input normalisation happens inside.

        C is 3 but for modalities that say otherwise; an encoder for those takes a parameter
        `channels`. An encoder of vectors takes (B, C).
        """

    def stages(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The representation, and the feature maps of each stage, first to last.

        (B, C, S, S) -> (B, width), [(B, channels, H, W), ...]. Raises `ConfigError` where the
        network has none.
        """
        del images
        raise ConfigError(
            f"The encoder {type(self).__name__} has no stages of feature maps, which attention "
            "transfer compares; give a convolutional network or a transformer of timm."
        )

    def checkpoint_gradients(self) -> None:
        """From now on hold the activations of one block at a time, and compute each anew in the
        backward pass. Raises `ConfigError` where the encoder has no blocks that it can do so."""
        raise ConfigError(
            f"--gradient-checkpointing is not for the encoder '{self.spec}'; give --accumulate."
        )
