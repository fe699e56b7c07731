"""The nuclei mask: which cells lie where, and nothing else of the tissue."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from morefromless.data.colours import type_colours
from morefromless.data.nuclei import ARRAY
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.modalities import Modality

Palette = Literal["levels", "raw", "one-hot", "colour"]


@dataclass(frozen=True)
class Nuclei(Modality):
    """The type of the nucleus at each pixel (paper, 2.1), drawn in one of four ways.

    levels      one grey level a type, spread over 0-255, in three equal channels
    raw         the type's code itself (0 ... 5 of 255) in three equal channels, which is what the
                authors' code feeds its encoder
    one-hot     one channel a type, background included; the encoder then has as many inputs
    colour      one colour a type

    `types` is the number of types of the scheme, background included: 6 for PanNuke, 5 for CoNSeP.
    All geometry is by nearest neighbour, so that no type appears that was not there.
    """

    palette: Palette = "levels"
    types: int = 6
    array: str = ARRAY

    def __post_init__(self) -> None:
        if self.palette not in get_args(Palette):
            raise ConfigError(
                f"nuclei has no palette '{self.palette}'; choose {', '.join(get_args(Palette))}."
            )
        if not 2 <= self.types <= 256:
            raise ConfigError(f"nuclei:types={self.types} should be from 2 to 256.")

    @property
    def labels(self) -> bool:
        return True

    @property
    def channels(self) -> int:
        return self.types if self.palette == "one-hot" else 3

    def check(self, store: Store) -> None:
        """Raise `DataError` without nuclei, `ConfigError` where the scheme has more types."""
        count = len(store.scheme.types)
        super().check(store)
        if count > self.types:
            raise ConfigError(
                f"{store.path} has {count} types of nuclei ({store.scheme.name}) and this modality "
                f"draws {self.types}; give nuclei:{self.palette},types={count}."
            )

    def render(self, patches: Tensor, size: int) -> Tensor:
        """Encoded nuclei (B, H, W, 3) uint8 -> (B, channels, size, size) float32 in [0, 1]."""
        side = patches.shape[1]
        types = patches[..., 0]
        if size != side:
            nearest = ((torch.arange(size) + 0.5) * side / size).long().to(patches.device)
            types = types[:, nearest[:, None], nearest]
        table = self._table().to(patches.device)
        return table[types.int()].permute(0, 3, 1, 2).contiguous()

    def to_rgb(self, rendered: Tensor) -> Tensor:
        """A one-hot mask in colour; every other palette as it is."""
        if self.palette != "one-hot":
            return rendered
        colours = _colours(self.types).to(rendered.device)
        return torch.einsum("bkhw,kc->bchw", rendered, colours)

    def _table(self) -> Tensor:
        """(256, channels): what each type is drawn as."""
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
