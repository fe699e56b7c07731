"""Cut tiles into square patches, including their nuclei."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from morefromless.data.lru_cache import LruCache
from morefromless.data.nuclei import NUCLEI_ARRAY, assign_border_nuclei
from morefromless.errors import ConfigError, UnreadablePatch
from morefromless.ingest.wrapping import Wrapper
from morefromless.sources import Datasheet, Item, Source

Arrays = dict[str, npt.NDArray[Any]]

CACHED_TILES = 4
"""Number of tiles in the cache."""


class Cut(Wrapper):
    """A source that cuts every tile of another source into adjacent patches of `side` px.

    Cutting starts at the top left; the remainder at the right and bottom is discarded. A nucleus
    on a border between patches is drawn in each of them and counted in one
    (`data.nuclei.assign_border_nuclei`). If the source has no group for a tile, its patches form a
    group, so that a split keeps them together.
    """

    fork_safe = False  # each process would read every tile again

    def __init__(self, tiles: Source, side: int) -> None:
        if side < 8:
            raise ConfigError(f"--cut {side} is too small for a patch; use 8 px or more.")
        super().__init__(tiles)
        self.side = side
        self._origins: dict[str, tuple[Item, int, int]] = {}
        self._tiles = LruCache[Arrays](CACHED_TILES)

    def datasheet(self) -> Datasheet:
        sheet = self.inside.datasheet()
        return replace(sheet, title=f"{sheet.title}, cut to {self.side} px")

    def skipped_parts(self, item: Item) -> Mapping[str, int]:
        """Skipped parts of a tile, counted with its first patch."""
        tile, x, y = self._origins.get(item.id, (item, 0, 0))
        return self.inside.skipped_parts(tile) if (x, y) == (0, 0) else {}

    def items(self) -> Sequence[Item]:
        patches = []
        for tile in self.inside.items():
            try:
                height, width = self.inside.shape(tile)
            except UnreadablePatch:
                patches.append(tile)  # `read` rejects it with the reason
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
            raise UnreadablePatch(f"smaller than the cut: {self.side} px; use a smaller --cut")
        tile, x, y = self._origins[item.id]
        return {
            name: array  # a vector describes the whole tile
            if array.ndim == 1
            else np.ascontiguousarray(array[y : y + self.side, x : x + self.side])
            for name, array in self._tiles.get(tile.id, lambda: self._tile(tile)).items()
        }

    def shape(self, item: Item) -> tuple[int, int]:
        return Source.shape(self, item)

    def _tile(self, tile: Item) -> Arrays:
        arrays = self.inside.read(tile)
        if len({array.shape[:2] for array in arrays.values() if array.ndim == 3}) > 1:
            raise UnreadablePatch("arrays differ in size: --cut needs arrays of the same size")
        if NUCLEI_ARRAY in arrays:
            arrays[NUCLEI_ARRAY] = assign_border_nuclei(arrays[NUCLEI_ARRAY], self.side)
        return arrays
