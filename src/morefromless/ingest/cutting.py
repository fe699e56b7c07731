"""Tiles cut to square patches, with their nuclei."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from morefromless.data.lru_cache import LruCache
from morefromless.data.nuclei import ARRAY, assign_border_nuclei
from morefromless.errors import ConfigError, UnreadablePatch
from morefromless.ingest.wrapping import Wrapper
from morefromless.sources import Datasheet, Item, Source

Arrays = dict[str, npt.NDArray[Any]]

TILES = 4
"""Tiles in memory while their patches are cut."""


class Cut(Wrapper):
    """Every tile of a source, cut into patches of `side` px side by side from the top left.

    What the last row and column leave over is left out. A nucleus that a border cuts is drawn in
    every patch that it reaches into and counted in one (`data.nuclei.assign_border_nuclei`).
    Patches of a tile are one group, where the source knows no wider one, so a split keeps them
    together.
    """

    def __init__(self, tiles: Source, side: int) -> None:
        if side < 8:
            raise ConfigError(f"--cut {side} is too small for a patch; give 8 px or more.")
        super().__init__(tiles)
        self.side = side
        self._origins: dict[str, tuple[Item, int, int]] = {}
        self._tiles = LruCache[Arrays](TILES)

    @property
    def fork_safe(self) -> bool:
        return False  # each process would read a tile anew

    def datasheet(self) -> Datasheet:
        sheet = self.inside.datasheet()
        return replace(sheet, title=f"{sheet.title}, cut to {self.side} px")

    def omitted(self, item: Item) -> Mapping[str, int]:
        """What is left out of a tile is counted with its first patch."""
        tile, x, y = self._origins.get(item.id, (item, 0, 0))
        return self.inside.omitted(tile) if (x, y) == (0, 0) else {}

    def items(self) -> Sequence[Item]:
        patches = []
        for tile in self.inside.items():
            try:
                height, width = self.inside.shape(tile)
            except UnreadablePatch:
                patches.append(tile)  # to be rejected with its reason, by `read`
                continue
            corners = [
                (x, y)
                for y in range(0, height - self.side + 1, self.side)
                for x in range(0, width - self.side + 1, self.side)
            ]
            for x, y in corners:
                patch = replace(
                    tile,
                    id=f"{tile.id}_x{x}_y{y}",
                    origin=f"{tile.origin}, x {x}, y {y}",
                    group=tile.group or tile.id,
                    place=(x, y),
                )
                self._origins[patch.id] = tile, x, y
                patches.append(patch)
            if not corners:
                patches.append(tile)
        return patches

    def read(self, item: Item) -> Arrays:
        if item.id not in self._origins:  # a tile that could not be cut
            self.inside.read(item)
            raise UnreadablePatch(f"smaller than the cut: {self.side} px; give a smaller --cut")
        tile, x, y = self._origins[item.id]
        return {
            name: array  # a vector is of the tile as a whole
            if array.ndim == 1
            else np.ascontiguousarray(array[y : y + self.side, x : x + self.side])
            for name, array in self._tiles.get(tile.id, lambda: self._tile(tile)).items()
        }

    def shape(self, item: Item) -> tuple[int, int]:
        return Source.shape(self, item)

    def _tile(self, tile: Item) -> Arrays:
        arrays = self.inside.read(tile)
        if len({array.shape[:2] for array in arrays.values() if array.ndim == 3}) > 1:
            raise UnreadablePatch("arrays differ in size: --cut takes arrays of one size")
        if ARRAY in arrays:
            arrays[ARRAY] = assign_border_nuclei(arrays[ARRAY], self.side)
        return arrays
