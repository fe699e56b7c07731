"""The estimated shifts of paired images equal the true shifts."""

import numpy as np
import numpy.typing as npt

from morefromless.data.registration import estimate_shifts
from tests.data.test_near_duplicates import tissue

MARGIN = 10


def test_shifts_of_other_stains_are_recovered() -> None:
    fields = tissue(12, side=132, size=1.5)
    true_shifts = np.random.default_rng(0).integers(-MARGIN, MARGIN + 1, (12, 2))
    inverted = (255 - fields[..., :1].astype(np.uint16)) * 100  # 16 bits, nuclei bright
    shifts, reliable = estimate_shifts(
        _window(fields, 0 * true_shifts), _window(inverted, true_shifts)
    )
    assert reliable.all()
    assert shifts.tolist() == true_shifts.tolist()


def test_unrelated_images_and_glass_have_no_reliable_shift() -> None:
    images = tissue(12, side=96, size=1.5)
    assert not estimate_shifts(images, tissue(12, side=96, seed=1, size=1.5))[1].any()
    assert not estimate_shifts(images, np.full_like(images, 240))[1].any()


def _window(
    fields: npt.NDArray[np.generic], shifts: npt.NDArray[np.int64]
) -> npt.NDArray[np.generic]:
    side = fields.shape[1] - 2 * MARGIN
    corners = MARGIN - shifts
    return np.stack(
        [f[y : y + side, x : x + side] for f, (x, y) in zip(fields, corners, strict=True)]
    )
