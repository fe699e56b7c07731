"""H&E normalised to the stains of a reference."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from morefromless.data.images import read_rgb
from morefromless.errors import ConfigError, UnreadablePatch
from morefromless.modalities import Modality
from morefromless.modalities._resize import bilinear_matrices, resize, square_side
from morefromless.stain import Convention, Stains, estimate, normalise_stains, unchanged

REFERENCE = (0.5626, 0.7201, 0.4062, 0.2159, 0.8012, 0.5581, 1.9705, 1.0308)
"""The standard reference: R, G, B of hematoxylin and of eosin, and their strengths."""


@dataclass(frozen=True)
class Macenko(Modality):
    """The stored patch with the hematoxylin and eosin of a reference (Macenko et al. 2009).

    The stains of each patch are estimated from its own pixels, on the training device. Patches that
    are white, nearly white, have only one stain, or have ink marks are unchanged. `reference` is an
    image file, or eight numbers: `macenko:reference=0.56/0.72/0.41/0.22/0.80/0.56/1.97/1.03`.

    >>> Macenko().render(torch.full((1, 8, 8, 3), 255, dtype=torch.uint8), size=8).min()
    tensor(1.)
    """

    array: str = "he"
    reference: str = ""
    convention: Convention = "luminosity"
    """How tissue is distinguished from glass: by lightness, as in StainTools and TIAToolbox, or by
    optical `density`, as in torchstain, which excludes most pixels with only eosin."""

    def __post_init__(self) -> None:
        if self.convention not in get_args(Convention):
            raise ConfigError(
                f"macenko has no convention '{self.convention}'; use luminosity or density."
            )
        _ = self._stains  # raises an error for an unusable reference

    def render(self, patches: Tensor, size: int) -> Tensor:
        """(B, H, H, 3) uint8 -> (B, 3, size, size) float32 in [0, 1], on the same device."""
        stains = estimate(patches, self.convention)
        changed = normalise_stains(patches, stains, self._stains, self.convention)
        return resize(changed, *bilinear_matrices(square_side(patches), size))

    def unchanged(self, patches: Tensor) -> Tensor:
        """(B,) bool: which of (B, H, H, 3) patches are unchanged."""
        return unchanged(estimate(patches, self.convention), self._stains)

    @cached_property
    def _stains(self) -> Stains:
        return reference_stains(self.reference, self.convention)


def reference_stains(reference: str, convention: Convention = "luminosity") -> Stains:
    """Stains of an image file, or of eight numbers joined by slashes; the standard ones for "".

    Raises `ConfigError` if the image cannot be read, or does not contain both stains.
    """
    if not reference:
        return Stains.of_values(REFERENCE)
    try:
        return Stains.of_values(tuple(float(word) for word in reference.split("/")))
    except ValueError:
        pass
    try:
        image = torch.from_numpy(read_rgb(Path(reference)).copy())
    except UnreadablePatch as error:
        raise ConfigError(f"macenko cannot read its reference {reference}: {error}.") from error
    stains = estimate(image[None].double(), convention)
    if not stains.usable:
        raise ConfigError(
            f"macenko's reference {reference} does not contain hematoxylin and eosin; use a patch "
            "with both, and with little glass."
        )
    return stains
