"""Beer-Lambert law: from densities of two dyes to light, and back."""

from decimal import Decimal, getcontext

import numpy as np

from morefromless.synthesis.rng import Rng
from morefromless.synthesis.stain import TRANSMITTED, Patient, render_rgb


def test_table_is_exact_and_far_from_rounding_boundaries() -> None:
    getcontext().prec = 30
    for step, entry in enumerate(TRANSMITTED.tolist()):
        exact = 255 * (-Decimal(step) / 256).exp()
        assert abs(exact - entry) < Decimal("0.49999")


def test_light_follows_the_law_of_beer_and_lambert() -> None:
    patient = Patient.sample(Rng(0, 0, 1))
    for h, e in ((0.0, 0.0), (1.0, 0.0), (0.0, 0.8), (0.7, 0.4), (9.0, 9.0)):
        rgb = render_rgb(np.full((64, 64), h), np.full((64, 64), e), patient, Rng(5))
        density = (
            h * patient.haematoxylin_density * np.array(patient.haematoxylin)
            + e * patient.eosin_density * np.array(patient.eosin)
            + 0.02
        )
        np.testing.assert_allclose(
            rgb.reshape(-1, 3).mean(axis=0), 255 * np.exp(-density), atol=0.7
        )


def test_unmixing_recovers_the_concentrations() -> None:
    patient = Patient.sample(Rng(0, 0, 2))
    rng = np.random.default_rng(0)
    h, e = rng.uniform(0, 1.2, (2, 48, 48))
    rgb = render_rgb(h, e, patient, Rng(1)).reshape(-1, 3)
    vectors = np.stack(
        [
            np.array(patient.haematoxylin) * patient.haematoxylin_density,
            np.array(patient.eosin) * patient.eosin_density,
        ]
    )
    density = -np.log(np.maximum(rgb, 1) / 255) - 0.02
    concentrations = np.linalg.lstsq(vectors.T, density.T, rcond=None)[0]
    assert np.abs(concentrations - [h.ravel(), e.ravel()]).mean() < 0.03


def test_patients_differ_and_their_vectors_have_length_one() -> None:
    patients = [Patient.sample(Rng(0, 0, number)) for number in range(20)]
    assert len(set(patients)) == 20
    for patient in patients:
        assert abs(np.linalg.norm(patient.haematoxylin) - 1) < 1e-12
        assert abs(np.linalg.norm(patient.eosin) - 1) < 1e-12
        # Haematoxylin absorbs more red than eosin: haematoxylin is blue, eosin is pink.
        assert patient.haematoxylin[0] > patient.eosin[0] + 0.1
