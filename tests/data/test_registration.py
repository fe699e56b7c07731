"""The estimated shifts of paired images equal the true shifts."""

import numpy as np
import numpy.typing as npt

from morefromless.data.registration import estimate_shifts
from tests.data.test_near_duplicates import tissue

MARGIN = 10


def test_other_stains_have_the_shift_that_they_were_given() -> None:
    fields = tissue(12, side=132, size=1.5)
    given = np.random.default_rng(0).integers(-MARGIN, MARGIN + 1, (12, 2))
    inverted = (255 - fields[..., :1].astype(np.uint16)) * 100  # 16 bits, nuclei bright
    shift, clear = estimate_shifts(_window(fields, 0 * given), _window(inverted, given))
    assert clear.all()
    assert shift.tolist() == given.tolist()


def test_unrelated_images_and_glass_have_no_clear_shift() -> None:
    images = tissue(12, side=96, size=1.5)
    assert not estimate_shifts(images, tissue(12, side=96, seed=1, size=1.5))[1].any()
    assert not estimate_shifts(images, np.full_like(images, 240))[1].any()


def _window(
    fields: npt.NDArray[np.generic], given: npt.NDArray[np.int64]
) -> npt.NDArray[np.generic]:
    side = fields.shape[1] - 2 * MARGIN
    corners = MARGIN - given
    return np.stack(
        [f[y : y + side, x : x + side] for f, (x, y) in zip(fields, corners, strict=True)]
    )
