"""Staining: two dyes that vary between patients, and the light that passes through them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from morefromless.synthesis.rng import Floats, Rng

# Optical density per unit of dye in red, green and blue (length one): the reference vectors of
# Macenko et al., "A method for normalizing histology slides", ISBI 2009.
HAEMATOXYLIN = (0.5626, 0.7201, 0.4062)
EOSIN = (0.2159, 0.8012, 0.5581)

_STEPS_PER_DENSITY = 256  # table entries per unit of optical density
_MAX_DENSITY = 7.0
# round(255 exp(-OD)) for OD = 0, 1/256, ... No value is near a half (a test checks this), so the
# last bit of exp, which differs between processors, cannot change an entry.
TRANSMITTED: npt.NDArray[np.uint8] = np.round(
    255.0 * np.exp(-np.arange(int(_MAX_DENSITY * _STEPS_PER_DENSITY) + 1) / _STEPS_PER_DENSITY)
).astype(np.uint8)


@dataclass(frozen=True)
class Patient:
    """Staining and cellularity of one patient's tissue.

    `haematoxylin` and `eosin` are unit stain vectors (optical density in red, green, blue),
    `*_density` is the strength of each dye, `cellularity` the density of cells (1 is average).
    """

    haematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    haematoxylin_density: float
    eosin_density: float
    cellularity: float

    @classmethod
    def sample(cls, rng: Rng) -> "Patient":
        """Sample a patient at random."""
        return cls(
            haematoxylin=_shifted(rng, HAEMATOXYLIN),
            eosin=_shifted(rng, EOSIN),
            haematoxylin_density=rng.uniform(0.8, 1.25),
            eosin_density=rng.uniform(0.75, 1.3),
            cellularity=rng.uniform(0.85, 1.15),
        )


def render_rgb(
    haematoxylin: Floats, eosin: Floats, patient: Patient, rng: Rng
) -> npt.NDArray[np.uint8]:
    """Concentrations (S, S) of the two dyes -> (S, S, 3) uint8 RGB, by the Beer-Lambert law.

        OD_c = H d_H h_c + E d_E e_c,    I_c = 255 exp(-OD_c)

    with the patient's vectors h, e and densities d, on glass with OD 0.02, and with sensor noise of
    about 0.006 in optical density.
    """
    grain = rng.grain((3, *haematoxylin.shape))
    image = np.empty((*haematoxylin.shape, 3), np.uint8)
    for channel in range(3):
        h = patient.haematoxylin[channel] * patient.haematoxylin_density * _STEPS_PER_DENSITY
        e = patient.eosin[channel] * patient.eosin_density * _STEPS_PER_DENSITY
        density = np.floor(haematoxylin * h + eosin * e + (0.02 * _STEPS_PER_DENSITY + 0.5)).astype(
            np.int64
        )
        density += grain[channel]
        image[:, :, channel] = TRANSMITTED[np.clip(density, 0, len(TRANSMITTED) - 1)]
    return image


def _shifted(rng: Rng, vector: tuple[float, float, float]) -> tuple[float, float, float]:
    r, g, b = (part + rng.uniform(-0.07, 0.07) for part in vector)
    length = float(np.sqrt(r * r + g * g + b * b))
    return r / length, g / length, b / length
