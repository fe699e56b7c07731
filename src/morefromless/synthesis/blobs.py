"""Draw many rounded bodies on a patch together: nuclei and goblets. Lengths are micrometres."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from morefromless.synthesis.rng import Floats
from morefromless.synthesis.texture import FIELD_UM

_MAX_RADIUS = 1.5  # a body is evaluated up to this many radii, so that its edge can be drawn soft
_RADIUS_SCALE = 2.0**16


@dataclass(frozen=True)
class Blobs:
    """N ellipses with wavy outlines: every field has shape (N,).

    `direction_x`, `direction_y` is the unit vector of the long semi-axis. `wave_*` are the second
    and third harmonic of the outline's radius, at most a third of it together.
    """

    x: Floats
    y: Floats
    long: Floats
    short: Floats
    direction_x: Floats
    direction_y: Floats
    wave_two: Floats
    wave_three: Floats

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, mask: npt.NDArray[np.bool_]) -> Self:
        return type(self)(*(getattr(self, f.name)[mask] for f in fields(self)))

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Concatenate blobs. Where they overlap, the nearer centre wins, regardless of order."""
        names = [f.name for f in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def nearest(blobs: Blobs, size: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Assign each pixel to a body, with its relative radius in that body.

    Returns `owner` (size, size), the index of the body or -1, and `radius` (size, size): 0 at the
    centre, 1 on the outline, at most 1.5, which is also the value of pixels without an owner.
    """
    best = np.full(size * size, int(_MAX_RADIUS * _RADIUS_SCALE) << 20, dtype=np.int64)
    margin = float(blobs.long.max()) * _MAX_RADIUS if len(blobs) else 0.0
    near_x = (blobs.x > -margin) & (blobs.x < FIELD_UM + margin)
    nearby = np.flatnonzero(near_x & (blobs.y > -margin) & (blobs.y < FIELD_UM + margin))
    if len(nearby):
        _stamp(blobs, nearby, size, best)
    owner = (best & 0xFFFFF) - 1
    radius = (best >> 20) / _RADIUS_SCALE
    return owner.reshape(size, size), radius.reshape(size, size)


def _stamp(
    blobs: Blobs, nearby: npt.NDArray[np.int64], size: int, best: npt.NDArray[np.int64]
) -> None:
    """Update `best`, the flat map of minimal (radius, owner + 1) keys, with the bodies `nearby`."""
    um = FIELD_UM / size
    x, y, long, short, direction_x, direction_y, wave_two, wave_three = (
        getattr(blobs, field.name)[nearby][:, None, None] for field in fields(Blobs)
    )
    farthest = long / (1.0 - np.abs(wave_two) - np.abs(wave_three))
    side = int(float(farthest.max()) / um) + 2  # one more pixel for the soft edge
    offsets = np.arange(-side, side + 1)
    column = np.floor(x / um).astype(np.int64) + offsets[None, None, :]
    row = np.floor(y / um).astype(np.int64) + offsets[None, :, None]
    dx, dy = (column + 0.5) * um - x, (row + 0.5) * um - y
    u = dx * (direction_x / long) + dy * (direction_y / long)
    v = dy * (direction_x / short) - dx * (direction_y / short)
    uu, vv = u * u, v * v
    square = uu + vv
    # Most pixels of a thin body's window are far from the body; continue with the other pixels.
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    covered = np.nonzero(inside & (square < _MAX_RADIUS * _MAX_RADIUS))
    owner = covered[0]
    u, uu, vv, square = u[covered], uu[covered], vv[covered], square[covered] + 1e-12
    radius = np.sqrt(square)
    wave = wave_two[owner, 0, 0] * (uu - vv) / square
    wave += wave_three[owner, 0, 0] * u * (uu - 3.0 * vv) / (square * radius)
    radius = np.minimum(radius * (1.0 + wave), _MAX_RADIUS)
    place = row[owner, covered[1], 0] * size + column[owner, 0, covered[2]]
    # One integer encodes radius and owner, so the minimum does not depend on the order of bodies.
    np.minimum.at(
        best, place, ((radius * _RADIUS_SCALE).astype(np.int64) << 20) + nearby[owner] + 1
    )
