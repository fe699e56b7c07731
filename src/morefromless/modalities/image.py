"""An image with any number of channels, such as immunofluorescence or a greyscale image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.modalities import Modality
from morefromless.modalities._resize import bilinear_matrices, resize, square_side

CHANNEL_COLOURS = {
    "blue": (0.25, 0.35, 1.0),
    "green": (0.0, 0.8, 0.2),
    "red": (1.0, 0.15, 0.1),
    "yellow": (0.85, 0.75, 0.0),
    "magenta": (0.9, 0.0, 0.8),
    "cyan": (0.0, 0.75, 0.8),
}
"""Display colours of the first channels."""


@dataclass(frozen=True)
class Image(Modality):
    """The stored channels of an array, each scaled from its range to [0, 1].

    `low` and `high` are one number per channel, joined by slashes: `image:if,channels=2,low=90/110,
    high=4100/2600`. `mfl ingest` prints them as percentiles of the training patches. The default
    range is 0 to 255. They are options and are not read from the store, so that an encoder can be
    rebuilt from a run's options alone. Figures show a composite of up to six channels.

    >>> channels = torch.tensor([[[[100, 50]]]], dtype=torch.uint8)
    >>> Image("if", channels=2, low=(0, 0), high=(200, 100)).render(channels, 1).flatten()
    tensor([0.5000, 0.5000])
    """

    colour = False

    array: str
    channels: int = 1
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ConfigError(f"image:{self.array} has no channels; give their number.")
        low, high = self._range
        if not len(low) == len(high) == self.channels:
            raise ConfigError(
                f"image:{self.array} has {self.channels} channels, {len(low)} low and {len(high)} "
                "high; give one number per channel, joined by slashes."
            )
        if not all(a < b for a, b in zip(low, high, strict=True)):
            raise ConfigError(
                f"image:{self.array} has a low value that is not below its high value."
            )

    @property
    def _range(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.low or (0,) * self.channels, self.high or (255,) * self.channels

    def check(self, store: Store) -> None:
        """Raise `DataError` if the array is missing, and `ConfigError` if it has other channels, or
        more than 8 bits and no `high`."""
        shape = store.array(self.array).shape
        if len(shape) != 4:
            raise ConfigError(f"'{self.array}' of {store.path} contains vectors, not images.")
        without_range = not self.high and store.array(self.array).dtype.itemsize > 1
        if shape[3] != self.channels or without_range:
            what = "16 bits" if shape[3] == self.channels else f"{shape[3]} channels"
            raise ConfigError(
                f"'{self.array}' of {store.path} has {what}; give {image_spec(store, self.array)}."
            )

    def render(self, patches: Tensor, size: int) -> Tensor:
        """(B, H, H, C) uint8 or uint16 -> (B, C, size, size) float32 in [0, 1]."""
        low, high = torch.tensor(self._range, dtype=torch.float32).to(patches.device)
        # Scaled to 255, because `resize` divides by it. Clipped first, like a saturated sensor.
        scaled = ((patches.float() - low) * (255 / (high - low))).clamp(0, 255)
        return resize(scaled, *bilinear_matrices(square_side(patches), size))

    def to_rgb(self, rendered: Tensor) -> Tensor:
        """One channel as grey; of several channels, the sum of the first six in their colours."""
        if self.channels == 1:
            return rendered.expand(-1, 3, -1, -1)
        colours = torch.tensor(list(CHANNEL_COLOURS.values())[: self.channels]).to(rendered)
        shown = rendered[:, : len(colours)]
        return torch.einsum("bkhw,kc->bchw", shown, colours).clamp(0, 1)

    def legend(self, store: Store) -> str:
        """The display colour of each channel: `if: blue DAPI, green CD3`."""
        names = store.channels(self.array)
        if self.channels == 1:
            return f"{self.array}: {names[0]}, grey."
        shown = [f"{colour} {name}" for colour, name in zip(CHANNEL_COLOURS, names, strict=False)]
        more = f" ({self.channels - len(shown)} more not shown)" * (self.channels > len(shown))
        return f"{self.array}: {', '.join(shown)}{more}."


def image_spec(store: Store, array: str) -> str:
    """The specification of an array's modality, with the channel ranges that the store states."""
    channels = store.array(array).shape[3]
    spec = f"image:{array},channels={channels}"
    ranges = store.meta.arrays[array].ranges
    if not ranges:
        return spec
    low, high = ("/".join(f"{value:g}" for value in values) for values in zip(*ranges, strict=True))
    return f"{spec},low={low},high={high}"
