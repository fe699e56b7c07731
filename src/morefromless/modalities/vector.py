"""A vector per patch, such as the expression of genes at a spot."""

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.modalities import Modality

LEGEND_VALUES = 3
"""Number of values per class in a legend."""


@dataclass(frozen=True)
class Vector(Modality):
    """The stored vector of `length` values, unchanged.

    The length is an option and is not read from the store, so that an encoder can be rebuilt from a
    run's options alone.

    >>> Vector(1000).shape(size=224)
    (1000,)
    """

    vector = True

    length: int
    array: str = "expression"

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ConfigError(f"vector:{self.length} has no values; give the vectors' length.")

    @property
    def channels(self) -> int:
        return self.length

    def shape(self, size: int) -> tuple[int, ...]:  # noqa: ARG002
        return (self.length,)

    def check(self, store: Store) -> None:
        """Raise `DataError` if the array is missing, `ConfigError` if it has no such vectors."""
        shape = store.array(self.array).shape[1:]
        if len(shape) != 1:
            raise ConfigError(
                f"'{self.array}' of {store.path} contains images; use full:{self.array}."
            )
        if shape != (self.length,):
            raise ConfigError(
                f"'{self.array}' of {store.path} has {shape[0]} values per patch, not "
                f"{self.length}; use vector:{shape[0]},array={self.array}."
            )

    def render(self, patches: Tensor, size: int) -> Tensor:  # noqa: ARG002
        """(B, length) float32 -> the same."""
        return patches

    def to_rgb(self, rendered: Tensor) -> Tensor:
        """Values as grey levels in the rows of a square; the largest value of a patch is white."""
        side = math.ceil(math.sqrt(self.length))
        grey = rendered.clamp(min=0) / rendered.amax(1, keepdim=True).clamp(min=1e-9)
        square = F.pad(grey, (0, side**2 - self.length)).view(-1, 1, side, side)
        return square.expand(-1, 3, -1, -1)

    def markers(self, store: Store) -> dict[str, list[int]]:
        """Map of class to the indices of all values, most characteristic value first.

        Sorted by the difference of means from the other classes over the training patches, in
        standard deviations.
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
        """Names of the values from the source, or else their numbers from 1."""
        channel_names = store.meta.arrays[self.array].channels
        return channel_names or tuple(str(number + 1) for number in range(self.length))

    def legend(self, store: Store) -> str:
        """The names of the most characteristic values of each class, if names are known."""
        names = store.meta.arrays[self.array].channels
        parts = [
            f"{label} {', '.join(names[place] for place in places[:LEGEND_VALUES])}"
            for label, places in (self.markers(store) if names else {}).items()
        ]
        if not parts:
            return ""
        return f"Highest in {self.array} against the other classes: {'; '.join(parts)}."

    def resolution(self, side: int) -> int:  # noqa: ARG002
        """0, because a vector has no pixels."""
        return 0
