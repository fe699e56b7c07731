"""Vectors in a contact sheet: some of their values as named bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from morefromless.data.store import Store
from morefromless.modalities.vector import Vector
from morefromless.report.words import abbreviate

MAX_BARS = 10
"""Maximum number of bars per patch; more would be too thin for their names."""
NAMES_WIDTH = 0.45
"""Share of the width that the names take."""
MAX_NAME_LENGTH = 12
"""Maximum length of a name."""
COLOUR = "#0072B2"


@dataclass(frozen=True)
class Bars:
    """Values (R, K) of R patches with their K names. `bounds` are the smallest and the largest
    value in all columns of the same vectors."""

    values: Tensor
    names: Sequence[str]
    bounds: tuple[float, float]

    def draw(self, axes: Axes, row: int, left: float, low: float, side: float) -> None:
        """Draw one patch in a square of the axes; bars of negative values are left of 0."""
        smallest, largest = self.bounds
        scale = (1 - NAMES_WIDTH) * side / (largest - smallest)
        zero, height = left + NAMES_WIDTH * side - smallest * scale, side / len(self.names)
        for number, (name, value) in enumerate(zip(self.names, self.values[row], strict=True)):
            middle = low + side - (number + 0.5) * height
            corner = (zero + min(0.0, float(value)) * scale, middle - 0.35 * height)
            width = abs(float(value)) * scale
            axes.add_patch(Rectangle(corner, width, 0.7 * height, color=COLOUR, linewidth=0))
            axes.text(
                left + NAMES_WIDTH * side - 0.03,
                middle,
                abbreviate(name, MAX_NAME_LENGTH),
                ha="right",
                va="center",
                fontsize=6,
            )
        axes.plot([zero, zero], [low, low + side], "0.4", linewidth=0.6)


def distinctive_values(modality: Vector, store: Store) -> dict[str, int]:
    """Names and places of the values that best distinguish classes: the best of each class, the
    second best of each, ..."""
    ranked = modality.markers(store).values() or [list(range(modality.length))]
    indices = dict.fromkeys(index for rank in zip(*ranked, strict=True) for index in rank)
    names = modality.names(store)
    return {names[index]: index for index in islice(indices, MAX_BARS)}


def bars_on_common_scale(
    columns: Mapping[str, Tensor], indices: Mapping[str, int]
) -> dict[str, Bars]:
    """Columns of vectors (R, length) as bars of the values at `indices`, with common bounds."""
    values = {title: column[:, list(indices.values())] for title, column in columns.items()}
    all_values = torch.cat([*values.values()])
    smallest, largest = min(0.0, float(all_values.min())), max(0.0, float(all_values.max()))
    bounds = (smallest, largest if largest > smallest else smallest + 1)
    return {title: Bars(part, list(indices), bounds) for title, part in values.items()}
