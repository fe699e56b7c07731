"""Modalities: what a patch is seen as. An open set.

A modality is *deterministic*: it turns stored arrays into what a branch looks at, before any
augmentation is drawn. `full` is the stored patch, `downsample:7` the same patch with 7 x 7 pixels
of information. To add one, add a file with one public class deriving from `Modality`.
"""

from abc import ABC, abstractmethod

from torch import Tensor

from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.specs import Member


class Modality(Member, ABC):
    """How a batch of stored patches is seen."""

    array: str
    """The stored array that is read (`he` unless the store has several)."""

    @property
    def labels(self) -> bool:
        """Whether pixels are labels: then views of it are geometry by nearest neighbour only."""
        return False

    @property
    def vector(self) -> bool:
        """Whether it is a vector of `channels` values and no image."""
        return False

    @property
    def colour(self) -> bool:
        """Whether images are RGB: then views may change hue and saturation."""
        return not self.labels and not self.vector

    @property
    def channels(self) -> int:
        """Channels that the encoder sees."""
        return 3

    def shape(self, size: int) -> tuple[int, ...]:
        """What the encoder sees of one patch at the network's `size`."""
        return (self.channels, size, size)

    def check(self, store: Store) -> None:
        """Raise `DataError` or `ConfigError` where this store does not have what it needs."""
        stored = store.array(self.array)
        if self.colour and stored.ndim == 4 and (stored.shape[3] != 3 or stored.dtype.itemsize > 1):
            raise ConfigError(
                f"'{self.array}' of {store.path} is no RGB of 8 bits; see it as "
                f"image:{self.array},channels={stored.shape[3]}."
            )

    def to_rgb(self, rendered: Tensor) -> Tensor:
        """What a person is shown of what `render` gave: (B, channels, S, S) -> (B, 3, S, S)."""
        return rendered

    @abstractmethod
    def render(self, patches: Tensor, size: int) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, channels, size, size) float32 in [0, 1], on the same device.

        A vector's: (B, channels) float32 in and out.
        """

    def matrices(self, side: int, size: int) -> tuple[Tensor, ...] | None:  # noqa: ARG002
        """The matrices W by which `render` resizes from `side` to `size` px, Y = W X Wᵀ, one after
        the other; None where it does more than resize."""
        return None

    def resolution(self, side: int) -> int:
        """Side in pixels of the information that remains of a stored side (its density); by default
        the whole side."""
        return side
