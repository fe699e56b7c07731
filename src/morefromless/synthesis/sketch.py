"""Interface of tissue classes: concentrations of the two dyes, and nuclei on top."""

from dataclasses import dataclass
from typing import Protocol

from morefromless.synthesis.nuclei import Nuclei
from morefromless.synthesis.rng import Floats, Rng


@dataclass(frozen=True)
class Sketch:
    """Tissue before nuclei are drawn: concentrations (S, S), and the nuclei."""

    haematoxylin: Floats
    eosin: Floats
    nuclei: Nuclei


class Drawing(Protocol):
    """Draw one tissue class.

    `x` (1, S) and `y` (S, 1) are the pixel centres in µm; `cellularity` is that of the patient.
    No random number depends on S, so a patch of another size shows the same tissue.
    """

    def __call__(self, rng: Rng, x: Floats, y: Floats, cellularity: float) -> Sketch: ...
