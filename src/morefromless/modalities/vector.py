"""A vector per patch, such as the expression of genes at a spot."""

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.modalities import Modality

TOP = 3
"""Values that a legend names of each class."""


@dataclass(frozen=True)
class Vector(Modality):
    """The stored vector of `length` values, as it is.

    The length is an option, and is not read from the store, so that an encoder can be rebuilt from
    a run's options alone.

    >>> Vector(1000).shape(size=224)
    (1000,)
    """

    length: int
    array: str = "expression"

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ConfigError(f"vector:{self.length} has no values; give the vectors' length.")

    @property
    def vector(self) -> bool:
        return True

    @property
    def channels(self) -> int:
        return self.length

    def shape(self, size: int) -> tuple[int, ...]:  # noqa: ARG002
        return (self.length,)

    def check(self, store: Store) -> None:
        """Raise `DataError` without the array, `ConfigError` where it is no vector so long."""
        shape = store.array(self.array).shape[1:]
        if len(shape) != 1:
            raise ConfigError(
                f"'{self.array}' of {store.path} holds images; see it as full:{self.array}."
            )
        if shape != (self.length,):
            raise ConfigError(
                f"'{self.array}' of {store.path} has {shape[0]} values a patch, not {self.length}; "
                f"give vector:{shape[0]},array={self.array}."
            )

    def render(self, patches: Tensor, size: int) -> Tensor:  # noqa: ARG002
        """(B, length) float32 -> the same."""
        return patches

    def to_rgb(self, rendered: Tensor) -> Tensor:
        """Values as grey levels, row by row of a square, each patch's largest white."""
        side = math.ceil(math.sqrt(self.length))
        grey = rendered.clamp(min=0) / rendered.amax(1, keepdim=True).clamp(min=1e-9)
        square = F.pad(grey, (0, side**2 - self.length)).view(-1, 1, side, side)
        return square.expand(-1, 3, -1, -1)

    def markers(self, store: Store) -> dict[str, list[int]]:
        """Class to the places of all values, the one that tells it best from the others first.

        By the difference of means over the training patches, in standard deviations.
        """
        rows = store.indices("train")
        values, labels = store.array(self.array)[rows], store.labels[rows]
        spread = values.std(0) + 1e-9
        places = {}
        for number, label in enumerate(store.classes):
            inside = labels == number
            if inside.any() and not inside.all():
                difference = (values[inside].mean(0) - values[~inside].mean(0)) / spread
                places[label] = difference.argsort()[::-1].tolist()
        return places

    def names(self, store: Store) -> tuple[str, ...]:
        """Of the values, as the source has them; else their numbers from 1."""
        known = store.meta.arrays[self.array].channels
        return known or tuple(str(number + 1) for number in range(self.length))

    def legend(self, store: Store) -> str:
        """The values that tell each class from the others, by name, where names are known."""
        names = store.meta.arrays[self.array].channels
        parts = [
            f"{label} {', '.join(names[place] for place in places[:TOP])}"
            for label, places in (self.markers(store) if names else {}).items()
        ]
        if not parts:
            return ""
        return f"Highest in {self.array} against the other classes: {'; '.join(parts)}."

    def resolution(self, side: int) -> int:  # noqa: ARG002
        """0: it has no pixels."""
        return 0
