"""Draw one patch of tissue with its instance map of nuclei."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from morefromless.synthesis.fibrous import mucus, muscle, stroma
from morefromless.synthesis.glandular import adenocarcinoma, normal_mucosa
from morefromless.synthesis.nuclei import NucleiMap, draw_nuclei
from morefromless.synthesis.rng import Floats, Rng
from morefromless.synthesis.sketch import Drawing
from morefromless.synthesis.sparse import background, debris, fat, lymphoid
from morefromless.synthesis.stain import Patient, render_rgb
from morefromless.synthesis.texture import FIELD_UM, Noise, pixels

DRAWINGS: dict[str, Drawing] = {
    "ADI": fat,
    "BACK": background,
    "DEB": debris,
    "LYM": lymphoid,
    "MUC": mucus,
    "MUS": muscle,
    "NORM": normal_mucosa,
    "STR": stroma,
    "TUM": adenocarcinoma,
}


@dataclass(frozen=True)
class Tissue:
    """One patch with its nuclei.

    `image` (S, S, 3) uint8 RGB; `instances` (S, S) uint16, 0 for background, else 1 ... M; `types`
    (M,) uint8, the PanNuke type of instance k at k - 1.
    """

    image: npt.NDArray[np.uint8]
    instances: npt.NDArray[np.uint16]
    types: npt.NDArray[np.uint8]


def draw(tissue: str, patient: Patient, rng: Rng, size: int) -> Tissue:
    """Draw a patch of 112 x 112 µm of a tissue class (a key of `DRAWINGS`), on size x size pixels.

    The same random stream with another size gives the same tissue at another magnification.
    """
    haematoxylin, eosin, nuclei = draw_stains(tissue, patient, rng, size)
    image = render_rgb(haematoxylin, eosin, patient, rng)
    return Tissue(image, nuclei.instances, nuclei.types)


def draw_stains(
    tissue: str, patient: Patient, rng: Rng, size: int
) -> tuple[Floats, Floats, NucleiMap]:
    """Concentrations of haematoxylin and eosin, each (S, S), and the nuclei."""
    x, y = pixels(size)
    sketch = DRAWINGS[tissue](rng, x, y, patient.cellularity)
    nuclei = draw_nuclei(rng, sketch.nuclei, size)
    coarse, fine = Noise(rng, 2.2), Noise(rng, 1.1)
    eosin = sketch.eosin * (1.0 - 0.6 * nuclei.cover)
    haematoxylin = sketch.haematoxylin * (1.0 - nuclei.cover)
    if FIELD_UM / size < 1.0:  # larger pixels do not resolve the fine texture of a section
        weave = 1.0 + 0.1 * coarse(x, y) + 0.1 * fine(x, y)
        eosin, haematoxylin = eosin * weave, haematoxylin * weave
    return haematoxylin + nuclei.haematoxylin, eosin, nuclei
