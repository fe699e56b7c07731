"""A patch at a lower magnification, shown at the network's size."""

from dataclasses import dataclass
from typing import get_args

from torch import Tensor

from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.modalities import Modality
from morefromless.modalities._resize import Interpolation, fit, resized, square_side, weights


@dataclass(frozen=True)
class Downsample(Modality):
    """The stored patch reduced to `size` x `size` pixels, then brought to the network's size.

    The way back is bilinear ("always resized ... using linear interpolation", section 2.1), or
    antialiased where the network's input is smaller than `size`; no rounding in between.

    The paper does not say how it reduces, and it matters: from 224 to 7 pixels, `point` (the
    default of the function that its authors call) reads 4 of every 1,024 pixels, and on colorectal
    H&E its result varies 2.4 times as much as a true mean. So `area`, what a lower magnification
    would record, is the default; `antialiased` is slightly smoother; `point` is the paper's.

    >>> import torch
    >>> ramp = torch.arange(4, dtype=torch.uint8).view(1, 1, 4, 1).expand(1, 4, 4, 3) * 51
    >>> Downsample(2).render(ramp, size=2)[0, 0, 0]
    tensor([0.1000, 0.5000])
    """

    size: int
    interpolation: Interpolation = "area"
    array: str = "he"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(
                f"downsample:{self.size} leaves no pixels; give a side of 1 or more, "
                "such as downsample:7."
            )
        if self.interpolation not in get_args(Interpolation):
            raise ConfigError(
                f"'{self.interpolation}' is not an interpolation of downsample; choose "
                f"{' or '.join(get_args(Interpolation))}."
            )

    def check(self, store: Store) -> None:
        """Raise `ConfigError` where the stored patches have fewer pixels."""
        super().check(store)
        self._fits(store.array(self.array).shape[1])

    def render(self, patches: Tensor, size: int) -> Tensor:
        """(B, H, H, 3) uint8 -> (B, 3, size, size) float32 in [0, 1], on the same device.

        Raises `ConfigError` where the stored side H is smaller than this modality's size.
        """
        return resized(patches, *self.matrices(square_side(patches), size))

    def matrices(self, side: int, size: int) -> tuple[Tensor, ...]:
        self._fits(side)
        return weights(self.interpolation, side, self.size), *fit(self.size, size)

    def _fits(self, side: int) -> None:
        if self.size > side:
            raise ConfigError(
                f"downsample:{self.size} cannot be made of patches of {side} pixels; choose "
                f"{side} or less, or full."
            )

    def resolution(self, side: int) -> int:
        """`size`, or the stored side if that is less."""
        return min(self.size, side)
