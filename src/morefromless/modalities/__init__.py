"""Modalities: the inputs that patches provide. An open set.

A modality is *deterministic*: it renders stored arrays to a branch's input, before augmentations
are drawn. `full` is the stored patch; `downsample:7` is the same patch with 7 x 7 pixels of
information. To add a modality, add a file with one public class deriving from `Modality`.
"""

from abc import ABC, abstractmethod

from torch import Tensor

from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.specs import Member


class Modality(Member, ABC):
    """Rendering of a batch of stored patches as an encoder's input."""

    array: str
    """Name of the stored array (`he` unless the store has several)."""

    @property
    def labels(self) -> bool:
        """Whether pixels are labels. If so, views only apply geometry by nearest neighbour."""
        return False

    @property
    def vector(self) -> bool:
        """Whether it is a vector of `channels` values and not an image."""
        return False

    @property
    def colour(self) -> bool:
        """Whether images are RGB. If so, views may change hue and saturation."""
        return not self.labels and not self.vector

    @property
    def channels(self) -> int:
        """Number of channels of the encoder's input."""
        return 3

    def shape(self, size: int) -> tuple[int, ...]:
        """Shape of the encoder's input for one patch at the network's `size`."""
        return (self.channels, size, size)

    def check(self, store: Store) -> None:
        """Raise `DataError` or `ConfigError` if this store cannot provide the modality."""
        stored = store.array(self.array)
        if self.colour and stored.ndim == 4 and (stored.shape[3] != 3 or stored.dtype.itemsize > 1):
            raise ConfigError(
                f"'{self.array}' of {store.path} is not 8-bit RGB; use "
                f"image:{self.array},channels={stored.shape[3]}."
            )

    def to_rgb(self, rendered: Tensor) -> Tensor:
        """RGB image to display from the output of `render`: (B, channels, S, S) -> (B, 3, S, S)."""
        return rendered

    @abstractmethod
    def render(self, patches: Tensor, size: int) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, channels, size, size) float32 in [0, 1], on the same device.

        For vectors: (B, channels) float32 -> the same shape.
        """

    def matrices(self, side: int, size: int) -> tuple[Tensor, ...] | None:  # noqa: ARG002
        """Matrices W with which `render` resizes from `side` to `size` px in sequence, Y = W X Wᵀ;
        None if it does more than resize."""
        return None

    def resolution(self, side: int) -> int:
        """Side in pixels of the information that remains of a stored `side` (by default, all)."""
        return side
