"""A source and a nuclei format from outside the package."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from morefromless.nuclei_formats import NucleiFormat, TypedInstances
from morefromless.sources import Datasheet, Item, Source


class Stripes(Source):
    """Forty patches of two classes from ten patients, light or dark."""

    def datasheet(self) -> Datasheet:
        return Datasheet("Stripes", um_per_px=1.0)

    def items(self) -> Sequence[Item]:
        return [
            Item(f"p{n}", ("dark", "light")[n % 2], f"row {n}", group=f"g{n // 4}")
            for n in range(40)
        ]

    def read(self, item: Item) -> dict[str, npt.NDArray[Any]]:
        number = int(item.id[1:])
        rng = np.random.default_rng(number)
        return {"he": rng.integers(0, 128, (16, 16, 3), dtype=np.uint8) + 127 * (number % 2)}


class Corners(NucleiFormat):
    """A text file with a type on each line, of nuclei of 2 x 2 px in the upper corners."""

    suffixes = (".corners",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.suffix == ".corners"

    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        instances = np.zeros(shape, np.int32)
        types = {}
        for number, line in enumerate(path.read_text().split(), start=1):
            instances[:2, slice(2) if number == 1 else slice(-2, None)] = number
            types[number] = int(line)
        return TypedInstances(instances, types)
