"""Draw H&E-like tissue with known nuclei, bit-identical on all machines.

    patient = Patient.sample(Rng(seed, 0, 7))
    tissue = draw("TUM", patient, Rng(seed, 1, 42), size=224)
    tissue.image, tissue.instances, tissue.types

A patch covers 112 x 112 µm regardless of its size in pixels. The modules, each based on the
previous ones: `rng` (random numbers), `texture` and `blobs` (smooth fields, rounded bodies),
`nuclei`, the tissue classes (`sparse`, `fibrous`, `glandular`), `stain` (Beer-Lambert), `tissue`
(the complete patch) and `controls` (pairs of images with a known result).
"""

from morefromless.synthesis.controls import draw_pair
from morefromless.synthesis.rng import Rng
from morefromless.synthesis.stain import Patient
from morefromless.synthesis.texture import FIELD_UM
from morefromless.synthesis.tissue import DRAWINGS, Tissue, draw

__all__ = ["DRAWINGS", "FIELD_UM", "Patient", "Rng", "Tissue", "draw", "draw_pair"]
