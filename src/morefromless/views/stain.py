"""Stain augmentation, without other colour changes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from morefromless.stain import optical_density
from morefromless.views import Views, _geometry, record
from morefromless.views._draws import blocks, check_range, uniform

RUIFROK = ((0.650, 0.704, 0.286), (0.072, 0.990, 0.105), (0.268, 0.570, 0.776))
"""Hematoxylin, eosin and a third stain as optical densities (Ruifrok and Johnston 2001)."""


@dataclass(frozen=True)
class Stain(Views):
    """Flip, crop and rotation as in table-s1, then stain jitter (Tellez et al. 2018).

    A patch is separated into hematoxylin, eosin and a rest, as stains vary between laboratories.
    Each concentration is multiplied and shifted by separate draws, and the patch is recombined.
    White stays nearly white.

    >>> import torch
    >>> Stain().augment(torch.rand(2, 3, 8, 8), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 8, 8])
    """

    remedy = "choose table-s1:saturation=0,hue=0 or plain."

    flip: float = 0.5
    """Probability of a flip, for each axis."""
    crop: float = 0.75
    """Smallest side of the crop, as a share of the patch's side."""
    rotation: float = 0.4
    """Probability of a rotation, by any angle, with reflected borders."""
    spread: float = 0.2
    """Each concentration is multiplied by 1 +- this."""
    shift: float = 0.02
    """Each concentration is shifted by +- this."""

    def __post_init__(self) -> None:
        check_range(self, "flip rotation spread shift", 0, 1)
        check_range(self, "crop", 0.05, 1)

    def channels(self, mask: bool = False) -> tuple[int, ...] | None:
        return None if mask else (3,)

    @torch.no_grad()
    def augment(
        self, patches: Tensor, generator: torch.Generator, geometry: torch.Generator | None = None
    ) -> Tensor:
        """One view per patch: (B, 3, S, S) float32 in [0, 1] -> the same shape and range."""
        self.check(patches.shape[1])
        count = len(patches)
        maps = self._maps(count, geometry or generator)
        factors = uniform(3 * count, 1 - self.spread, 1 + self.spread, generator).view(count, 3)
        record(factors, lambda row: f"haematoxylin × {row[0]:.2f}, eosin × {row[1]:.2f}")
        shifts = uniform(3 * count, -self.shift, self.shift, generator).view(count, 3)
        views = torch.empty_like(patches, memory_format=torch.contiguous_format)
        with torch.autocast(patches.device.type, enabled=False):
            for block in blocks(patches):
                images = _geometry.warp(patches[block], maps[block])
                torch.clamp(jitter(images, factors[block], shifts[block]), 0, 1, out=views[block])
        return views

    @torch.no_grad()
    def augment_channels(
        self, images: Tensor, generator: torch.Generator, geometry: torch.Generator | None = None
    ) -> Tensor:
        """Flip, crop and rotate (B, C, S, S): the channels are not stains."""
        return _geometry.warp(images, self._maps(len(images), geometry or generator))

    @torch.no_grad()
    def augment_mask(
        self, masks: Tensor, generator: torch.Generator, geometry: torch.Generator | None = None
    ) -> Tensor:
        """Flip, crop and rotate (B, C, S, S) in one nearest-neighbour interpolation."""
        maps = self._maps(len(masks), geometry or generator)
        return _geometry.warp(masks, maps, "nearest")

    def _maps(self, count: int, generator: torch.Generator) -> Tensor:
        return _geometry.draw_maps(count, self.flip, self.crop, self.rotation, generator)


def jitter(images: Tensor, factors: Tensor, shifts: Tensor) -> Tensor:
    """Multiply the stain concentrations of images (B, 3, S, S) in [0, 1] by `factors` and add
    `shifts`, both (B, 3)."""
    stains = torch.nn.functional.normalize(torch.tensor(RUIFROK).to(images), dim=-1)
    density = optical_density(images * 255).flatten(2)
    change = (torch.linalg.inv(stains) @ (factors[..., None] * stains)).mT
    changed: Tensor = change @ density + (shifts @ stains)[..., None]
    return (-changed).exp().view_as(images)
