"""What a tissue class draws: concentrations of the two dyes, and nuclei on top."""

from dataclasses import dataclass
from typing import Protocol

from morefromless.synthesis.nuclei import Nuclei
from morefromless.synthesis.rng import Floats, Rng


@dataclass(frozen=True)
class Sketch:
    """Tissue before the nuclei are laid on it: concentrations (S, S), and the nuclei."""

    haematoxylin: Floats
    eosin: Floats
    nuclei: Nuclei


class Drawing(Protocol):
    """Draws one tissue class.

    `x` (1, S) and `y` (S, 1) are the centres of the pixels in µm; `cellularity` is the patient's.
    No random draw depends on S, so a patch of another size shows the same tissue.
    """

    def __call__(self, rng: Rng, x: Floats, y: Floats, cellularity: float) -> Sketch: ...
