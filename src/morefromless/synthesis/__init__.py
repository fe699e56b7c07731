"""Draws H&E-like tissue whose every nucleus is known, byte for byte the same on any machine.

    patient = Patient.drawn(Rng(seed, 0, 7))
    tissue = draw("TUM", patient, Rng(seed, 1, 42), size=224)
    tissue.image, tissue.instances, tissue.types

A patch covers 112 x 112 µm whatever its size in pixels. From the inside out: `rng` (random
numbers), `texture` and `blobs` (smooth fields, rounded bodies), `nuclei`, the tissue classes
(`sparse`, `fibrous`, `glandular`), `stain` (Beer-Lambert), `tissue` (all of it together) and
`controls` (pairs of images with a known answer).
"""

from morefromless.synthesis.controls import draw_pair
from morefromless.synthesis.rng import Rng
from morefromless.synthesis.stain import Patient
from morefromless.synthesis.texture import FIELD
from morefromless.synthesis.tissue import DRAWINGS, Tissue, draw

__all__ = ["DRAWINGS", "FIELD", "Patient", "Rng", "Tissue", "draw", "draw_pair"]
