"""The nuclei mask: types and places of nuclei, without the tissue."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from morefromless.data.areas import nearest_pixels
from morefromless.data.colours import type_colours
from morefromless.data.nuclei import NUCLEI_ARRAY
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.modalities import Modality

Palette = Literal["levels", "raw", "one-hot", "colour"]


@dataclass(frozen=True)
class Nuclei(Modality):
    """The type of the nucleus at each pixel (paper, 2.1), drawn in one of four palettes.

    levels      one grey level per type, spread over 0-255, in three equal channels
    raw         the type's code (0 ... 5 of 255) in three equal channels, as in the authors' code
    one-hot     one channel per type, including background; the encoder gets this many
    colour      one colour per type

    `types` is the number of types of the scheme, including background: 6 for PanNuke, 5 for CoNSeP.
    All geometry is by nearest neighbour, so that no new types appear.
    """

    labels = True

    palette: Palette = "levels"
    types: int = 6
    array: str = NUCLEI_ARRAY

    def __post_init__(self) -> None:
        if self.palette not in get_args(Palette):
            raise ConfigError(
                f"nuclei has no palette '{self.palette}'; use {', '.join(get_args(Palette))}."
            )
        if not 2 <= self.types <= 256:
            raise ConfigError(f"nuclei:types={self.types} is invalid; use 2 to 256.")

    @property
    def channels(self) -> int:
        return self.types if self.palette == "one-hot" else 3

    def check(self, store: Store) -> None:
        """Raise `DataError` if the store has no nuclei, `ConfigError` if it has more types."""
        count = len(store.scheme.types)
        super().check(store)
        if count > self.types:
            raise ConfigError(
                f"{store.path} has {count} types of nuclei ({store.scheme.name}), but this "
                f"modality draws {self.types}; use nuclei:{self.palette},types={count}."
            )

    def render(self, patches: Tensor, size: int) -> Tensor:
        """Encoded nuclei (B, H, W, 3) uint8 -> (B, channels, size, size) float32 in [0, 1]."""
        side = patches.shape[1]
        types = patches[..., 0]
        if size != side:
            nearest = torch.from_numpy(nearest_pixels(side, size)).to(patches.device)
            types = types[:, nearest[:, None], nearest]
        table = self._table().to(patches.device)
        return table[types.int()].permute(0, 3, 1, 2).contiguous()

    def to_rgb(self, rendered: Tensor) -> Tensor:
        """Show a one-hot mask in colour; other palettes are unchanged."""
        if self.palette != "one-hot":
            return rendered
        colours = _colours(self.types).to(rendered.device)
        return torch.einsum("bkhw,kc->bchw", rendered, colours)

    def _table(self) -> Tensor:
        """(256, channels): the values of each type."""
        codes = torch.arange(256, dtype=torch.float32)
        match self.palette:
            case "levels":
                grey = (codes / (self.types - 1)).clamp(max=1)
            case "raw":
                grey = codes / 255
            case "one-hot":
                return torch.eye(256, dtype=torch.float32)[:, : self.types]
            case "colour":
                return _colours(256)
        return grey[:, None].expand(256, 3)


def _colours(count: int) -> Tensor:
    return torch.tensor(type_colours(count), dtype=torch.float32) / 255
