"""Two controls for the whole system: privileged data must help in one and cannot help in the other.

*Positive.* The label is the tissue class. In the primary image, the tissue has low contrast under
strong blotches of uneven staining, which differ between patches. The privileged image shows the
same tissue, evenly stained. Two views of a primary image share mainly the blotches, so symmetric
training learns the blotches. A privileged image has no blotches, so asymmetric training has to
learn the tissue. The primary image contains this signal: blotches have no wavelength below 14 µm,
and most of the tissue's structure is finer.

*Negative.* The privileged image is the primary image photographed again: same tissue, same
blotches, other sensor noise. Asymmetric training then has no additional information.

The positive control at a *strength* below 1 is between the two: the dyes of the privileged image
are a mixture, with this share of even staining and the rest as in the primary image. At strength 0,
it is the negative control.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from morefromless.synthesis.rng import Floats, Rng
from morefromless.synthesis.stain import Patient, render_rgb
from morefromless.synthesis.texture import Noise, pixels
from morefromless.synthesis.tissue import draw_stains

Control = Literal["positive", "negative"]

CLASSES = ("ADI", "LYM", "MUS", "NORM")
"""Tissue classes that differ in structure: rings, dots, streaks and glands."""

PRIMARY_CONTRAST = 0.5
"""Contrast of the tissue in a primary image; 1 in a privileged one."""

BLOTCH_AMPLITUDE = 0.8
"""Largest concentration of each dye that one layer of blotches adds or subtracts."""


def draw_pair(
    control: Control, tissue: str, patient: Patient, rng: Rng, size: int, strength: float = 1.0
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The primary and the privileged image of one patch, each (S, S, 3) uint8 RGB."""
    haematoxylin, eosin, _ = draw_stains(tissue, patient, rng, size)
    faint_haematoxylin, faint_eosin = (
        np.maximum(PRIMARY_CONTRAST * _centred(dye) + uneven, 0.0)
        for dye, uneven in zip((haematoxylin, eosin), _blotches(rng, size), strict=True)
    )
    primary = render_rgb(faint_haematoxylin, faint_eosin, patient, rng)
    share = strength if control == "positive" else 0.0
    return primary, render_rgb(
        share * haematoxylin + (1 - share) * faint_haematoxylin,
        share * eosin + (1 - share) * faint_eosin,
        patient,
        rng,
    )


def _blotches(rng: Rng, size: int) -> tuple[Floats, Floats]:
    """Uneven background of each dye: two layers of smooth, stretched blotches."""
    x, y = pixels(size)
    haematoxylin = np.full((size, size), rng.uniform(0.4, 1.0))
    eosin = np.full((size, size), rng.uniform(0.4, 1.0))
    for _ in range(2):
        c, s = rng.direction()
        width = rng.uniform(14.0, 40.0)
        length = width * rng.uniform(1.0, 3.0)
        layer = BLOTCH_AMPLITUDE * Noise(rng, 1.0)(
            (x * c + y * s) / length, (y * c - x * s) / width
        )
        haematoxylin += rng.uniform(-1.0, 1.0) * layer
        eosin += rng.uniform(-1.0, 1.0) * layer
    return haematoxylin, eosin


def _centred(dye: Floats) -> Floats:
    """Subtract the mean over the patch, so that the class cannot be predicted from brightness."""
    # Sums of integers do not depend on the order of summation; see `rng`.
    total = int((dye * 2.0**20).astype(np.int64).sum())
    return dye - total / (2.0**20 * dye.size)
