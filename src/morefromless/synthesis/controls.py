"""Two controls for the whole system: one where privileged data must help, one where they cannot.

*Positive.* The label is the tissue class. Its tissue shows in the primary image only faintly, under
blotches of uneven staining that are strong and every patch's own; the privileged image is the same
tissue, evenly stained. Two views of one primary image share the blotches before all else, so
symmetric training learns those; they are nothing to a privileged image, so asymmetric training has
to look for the tissue. The signal is there to be found: the blotches hold no wavelength below
14 µm, most of the tissue's structure is finer.

*Negative.* The privileged image is the primary one photographed again: same tissue, same
blotches, other sensor noise. Asymmetric training has then nothing that symmetric training lacks.

Between the two lies the positive control at a *strength* below 1: the privileged image is stained
evenly to that share, and as the primary one is to the rest. At 0 it is the negative control.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from morefromless.synthesis.rng import Floats, Rng
from morefromless.synthesis.stain import Patient, photograph
from morefromless.synthesis.texture import Noise, pixels
from morefromless.synthesis.tissue import stained

Control = Literal["positive", "negative"]

CLASSES = ("ADI", "LYM", "MUS", "NORM")
"""Tissue classes that differ in structure: rings, dots, streaks and glands."""

SIGNAL = 0.5
"""Contrast of the tissue in a primary image; 1 in a privileged one."""

NUISANCE = 0.8
"""Largest concentration of each dye that one layer of blotches adds or takes away."""


def draw_pair(
    control: Control, tissue: str, patient: Patient, rng: Rng, size: int, strength: float = 1.0
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The primary and the privileged image of one patch, each (S, S, 3) uint8 RGB."""
    haematoxylin, eosin, _ = stained(tissue, patient, rng, size)
    faint_haematoxylin, faint_eosin = (
        np.maximum(SIGNAL * _centred(dye) + uneven, 0.0)
        for dye, uneven in zip((haematoxylin, eosin), _blotches(rng, size), strict=True)
    )
    primary = photograph(faint_haematoxylin, faint_eosin, patient, rng)
    share = strength if control == "positive" else 0.0
    return primary, photograph(
        share * haematoxylin + (1 - share) * faint_haematoxylin,
        share * eosin + (1 - share) * faint_eosin,
        patient,
        rng,
    )


def _blotches(rng: Rng, size: int) -> tuple[Floats, Floats]:
    """What uneven staining leaves of each dye: two layers of smooth, stretched blotches."""
    x, y = pixels(size)
    haematoxylin = np.full((size, size), rng.uniform(0.4, 1.0))
    eosin = np.full((size, size), rng.uniform(0.4, 1.0))
    for _ in range(2):
        c, s = rng.direction()
        width = rng.uniform(14.0, 40.0)
        length = width * rng.uniform(1.0, 3.0)
        layer = NUISANCE * Noise(rng, 1.0)((x * c + y * s) / length, (y * c - x * s) / width)
        haematoxylin += rng.uniform(-1.0, 1.0) * layer
        eosin += rng.uniform(-1.0, 1.0) * layer
    return haematoxylin, eosin


def _centred(dye: Floats) -> Floats:
    """Less its mean over the patch, so that no class is given away by how dark it is."""
    # Whole numbers add up to the same sum in any order; see `rng`.
    total = int((dye * 2.0**20).astype(np.int64).sum())
    return dye - total / (2.0**20 * dye.size)
