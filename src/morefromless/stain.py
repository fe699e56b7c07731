"""Stains of H&E: optical density, Macenko's estimate of hematoxylin and eosin, normalisation.

Light that passes a stain is attenuated exponentially (Beer-Lambert). So the optical density
-log(I / I0) of a pixel is a sum of concentrations times the stains' colours. All functions work on
a batch, on the device of its patches.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from morefromless.errors import ConfigError

Convention = Literal["luminosity", "density"]

MAX_TISSUE_LUMINANCE = ((80 + 16) / 116) ** 3
"""Luminance of L* = 80 (CIE 1976); lighter pixels are not tissue, as in StainTools and
TIAToolbox."""
MIN_TISSUE_DENSITY = 0.15
"""Pixels with a channel below this optical density are not tissue, as in Macenko and torchstain."""
MIN_TISSUE_BRIGHTNESS = 40
"""Pixels whose brightest channel is darker are ink; ten of them in 4,096 distort the estimate."""
MIN_TISSUE_SHARE = 0.05
"""Minimum share of tissue pixels in a patch."""
MIN_STAIN_ANGLE = 10.0
"""Minimum angle in degrees between the two stains; below, they are one stain and noise."""
MAX_STAIN_FACTOR = 4.0
"""Maximum factor for concentrations; a patch that needs more contains hardly any of that stain."""


@dataclass(frozen=True)
class Stains:
    """Hematoxylin and eosin of B patches."""

    matrix: Tensor
    """(B, 2, 3) colours as optical densities of R, G, B, hematoxylin first; of unit length."""
    strengths: Tensor
    """(B, 2) 99th percentiles of the concentrations."""
    usable: Tensor
    """(B,) bool: False if a patch does not contain two stains that are hematoxylin and eosin."""

    @classmethod
    def of_values(cls, values: tuple[float, ...]) -> "Stains":
        """Build the stains of one image from eight numbers: R, G, B of hematoxylin, of eosin, and
        the strengths."""
        if len(values) != 8 or min(values[6:]) <= 0:
            raise ConfigError(
                "Stains of a reference are eight numbers: R/G/B of hematoxylin, R/G/B of eosin, "
                "and both strengths, above 0."
            )
        numbers = torch.tensor(values, dtype=torch.float64)
        matrix = torch.nn.functional.normalize(numbers[:6].view(1, 2, 3), dim=-1)
        return cls(matrix, numbers[6:].view(1, 2), torch.ones(1, dtype=torch.bool))


def optical_density(patches: Tensor, white: float = 255.0, offset: float = 0.0) -> Tensor:
    """Intensities (..., 3) in 0-255 -> -log((I + offset) / white), with black set to 1."""
    floor = 0.0 if offset else 1.0
    return -((patches + offset).clamp(min=floor) / white).log()


def estimate(patches: Tensor, convention: Convention = "luminosity") -> Stains:
    """Estimate the stains of (B, H, W, 3) patches of 0-255 (Macenko 2009), in their precision, or
    in float32 for uint8.

    Find the plane of largest variance of the tissue's optical density, and in it the directions at
    the 1st and 99th percentile of the angle. `luminosity` selects tissue by lightness, as
    StainTools and TIAToolbox do; `density` as torchstain does, with its white of 240.
    """
    pixels = patches.flatten(1, 2)
    pixels = pixels if pixels.is_floating_point() else pixels.float()
    if convention == "density":
        density = optical_density(pixels, 240.0, 1.0)
        tissue = (density >= MIN_TISSUE_DENSITY).all(-1)
    else:
        density = optical_density(pixels).clamp(min=1e-6)
        tissue = (_luminance(pixels) < MAX_TISSUE_LUMINANCE) & (
            pixels.amax(-1) >= MIN_TISSUE_BRIGHTNESS
        )
    matrix = _directions(density, tissue)
    concentrations = density @ torch.linalg.pinv(matrix)
    everywhere = torch.ones_like(tissue)
    strengths = torch.cat([_percentiles(c, everywhere, 99) for c in concentrations.unbind(-1)], 1)
    return Stains(matrix, strengths, _usable(matrix, strengths, tissue))


def normalise_stains(
    patches: Tensor,
    stains: Stains,
    reference: Stains,
    convention: Convention = "luminosity",
) -> Tensor:
    """Normalise patches (B, H, W, 3) of 0-255 to the reference's stains, as floats. Patches that
    are not usable, or need too large a factor, are unchanged.

    Each concentration is scaled so that its 99th percentile equals the reference's. All steps are
    linear in the optical density, so they are one 3 x 3 matrix per patch.
    """
    usable, ratio = _normalisation_factors(stains, reference)
    images = patches.to(stains.matrix.dtype)
    target = ratio[..., None] * reference.matrix.to(stains.matrix)
    change = torch.linalg.pinv(stains.matrix) @ target
    white, offset = (240.0, 1.0) if convention == "density" else (255.0, 0.0)
    density = optical_density(images, white, offset).flatten(1, 2)
    changed = (white * (-(density @ change)).exp()).clamp(max=255)
    return torch.where(usable[:, None, None, None], changed.view_as(images), images)


def unchanged(stains: Stains, reference: Stains) -> Tensor:
    """(B,) bool: patches that `normalise_stains` does not change."""
    return ~_normalisation_factors(stains, reference)[0]


def _normalisation_factors(stains: Stains, reference: Stains) -> tuple[Tensor, Tensor]:
    """Return which patches can be normalised, (B,), and the factors of their concentrations."""
    ratio = reference.strengths.to(stains.strengths) / stains.strengths.clamp(min=1e-6)
    usable = stains.usable & (ratio <= MAX_STAIN_FACTOR).all(-1)
    return usable, torch.where(usable[:, None], ratio, torch.ones_like(ratio))


def _luminance(pixels: Tensor) -> Tensor:
    """Relative luminance of sRGB; L* increases monotonically with it."""
    values = pixels / 255
    linear = torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return linear @ torch.tensor([0.212671, 0.715160, 0.072169]).to(linear)


def _directions(density: Tensor, tissue: Tensor) -> Tensor:
    """(B, 2, 3): the two stains, in the plane of the two largest eigenvectors."""
    weights = tissue.to(density)[..., None]
    count = weights.sum(1, keepdim=True).clamp(min=2)
    centred = (density - (density * weights).sum(1, keepdim=True) / count) * weights
    covariance = centred.mT @ centred / (count - 1)
    vectors = torch.linalg.eigh(covariance)[1][..., [2, 1]]
    vectors = vectors * torch.where(vectors[:, :1] < 0, -1.0, 1.0)
    plane = density @ vectors
    angles = torch.atan2(plane[..., 1], plane[..., 0])
    pair = _percentiles(angles, tissue, 1, 99)
    directions = torch.stack((pair.cos(), pair.sin()), -2)
    stains = (vectors @ directions).mT
    swapped = (stains[:, 0, 0] < stains[:, 1, 0])[:, None, None]
    stains = torch.where(swapped, stains.flip(1), stains)
    return torch.nn.functional.normalize(stains, dim=-1)


def _percentiles(values: Tensor, mask: Tensor, *percents: float) -> Tensor:
    """(B, P) -> (B, len(percents)): percentiles of the values in `mask`, linear between ranks; 0
    if the mask is empty."""
    ranked = _sorted(torch.where(mask, values, torch.inf))
    last = (mask.sum(1, keepdim=True) - 1).clamp(min=0)
    place = last.double() * torch.tensor(percents, dtype=torch.float64, device=last.device) / 100
    below = place.floor().long()
    low, high = ranked.gather(1, below), ranked.gather(1, torch.minimum(below + 1, last))
    value = low + (high - low) * (place - below).to(values)
    return torch.where(mask.any(1, keepdim=True), value, torch.zeros_like(value))


def _sorted(values: Tensor) -> Tensor:
    """Sort along axis 1. On a CPU, NumPy takes a fifth of the time, because it keeps no indices."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), axis=1))
    return values.sort(1).values


def _usable(matrix: Tensor, strengths: Tensor, tissue: Tensor) -> Tensor:
    """Whether there is enough tissue, the stains are two, and both absorb green most, unlike ink
    and grey."""
    red, green, blue = matrix.unbind(-1)
    apart = (matrix[:, 0] * matrix[:, 1]).sum(-1).clamp(-1, 1).acos().rad2deg() >= MIN_STAIN_ANGLE
    coloured = (matrix > -0.1).all(-1) & (green > 0.8 * red) & (blue < 0.9 * green)
    enough = tissue.float().mean(1) >= MIN_TISSUE_SHARE
    return enough & apart & coloured.all(-1) & (strengths > 0).all(-1)
