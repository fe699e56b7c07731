"""Smooth random fields, directions of fibres, and random positions. Lengths are micrometres."""

import numpy as np
import numpy.typing as npt

from morefromless.synthesis.rng import Floats, Rng

FIELD_UM = 112.0
"""Side of a patch in µm for any size in pixels: 224 px at 0.5 µm/px, as in NCT-CRC-HE."""

_TABLE_SIDE = 32


def pixels(size: int) -> tuple[Floats, Floats]:
    """Centres of the pixels in µm: x of shape (1, size) and y of shape (size, 1)."""
    centre: Floats = (np.arange(size, dtype=np.float64) + 0.5) * (FIELD_UM / size)
    return centre[None, :], centre[:, None]


class Noise:
    """Value noise in [-1, 1] with the given wavelength in µm, as a function of x and y."""

    def __init__(self, rng: Rng, wavelength: float) -> None:
        self.wavelength = wavelength
        self._table = rng.uniforms(-1.0, 1.0, _TABLE_SIDE * _TABLE_SIDE)
        self._phase = rng.uniform(0.0, _TABLE_SIDE), rng.uniform(0.0, _TABLE_SIDE)

    def __call__(self, x: Floats, y: Floats) -> Floats:
        """Values at x, y (any shapes that broadcast)."""
        if x.ndim == 2 and x.shape[0] == 1 and y.shape[1] == 1:
            return self._on_grid(x, y)
        left, right, across = _cell(x / self.wavelength + self._phase[0])
        upper, lower, down = _cell(y / self.wavelength + self._phase[1])
        upper, lower, table = upper * _TABLE_SIDE, lower * _TABLE_SIDE, self._table
        top, top_right = table[upper + left], table[upper + right]
        bottom, bottom_right = table[lower + left], table[lower + right]
        top = top + (top_right - top) * across
        bottom = bottom + (bottom_right - bottom) * across
        value: Floats = top + (bottom - top) * down
        return value

    def _on_grid(self, x: Floats, y: Floats) -> Floats:
        """Values for x (1, S) and y (S, 1), computed faster because rows share their weights."""
        left, right, across = _cell(x[0] / self.wavelength + self._phase[0])
        upper, lower, down = _cell(y[:, 0] / self.wavelength + self._phase[1])
        table = self._table.reshape(_TABLE_SIDE, _TABLE_SIDE)
        rows = table[upper] + (table[lower] - table[upper]) * down[:, None]
        start = np.take(rows, left, axis=1)
        value: Floats = start + (np.take(rows, right, axis=1) - start) * across
        return value


def _cell(
    position: Floats,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Two neighbouring table positions and the smooth weight of the second."""
    floor = np.floor(position)
    fraction = position - floor
    first = floor.astype(np.int64) & (_TABLE_SIDE - 1)
    return first, (first + 1) & (_TABLE_SIDE - 1), fraction * fraction * (3.0 - 2.0 * fraction)


class Grain:
    """The direction of fibres: straight along a random direction, bent by noise.

    `bend` is the sideways deviation of fibres in µm, `wavelength` the length over which it varies.
    """

    def __init__(self, rng: Rng, bend: float, wavelength: float) -> None:
        self.direction = rng.direction()
        self._bend = bend
        self._noise = Noise(rng, wavelength)

    def along_across(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Position along the fibres and across them, in µm."""
        c, s = self.direction
        return x * c + y * s, y * c - x * s + self._bend * self._noise(x, y)

    def tangent(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Unit vectors along the fibres at points."""
        step = 1.0
        east = self.along_across(x + step, y)[1] - self.along_across(x - step, y)[1]
        south = self.along_across(x, y + step)[1] - self.along_across(x, y - step)[1]
        length = np.sqrt(east * east + south * south) + 1e-9
        return south / length, -east / length


def scatter_points(rng: Rng, spacing: float, jitter: float = 0.4) -> tuple[Floats, Floats]:
    """Points over a patch and its surroundings, about `spacing` µm apart.

    A hexagonal lattice with a jitter of `jitter` spacings: nearly random, but without clusters.
    """
    rows = int((FIELD_UM + 4 * spacing) / (spacing * 0.866)) + 1
    columns = int((FIELD_UM + 4 * spacing) / spacing) + 1
    row, column = np.divmod(np.arange(rows * columns), columns)
    shift_x, shift_y = rng.uniform(0.0, spacing), rng.uniform(0.0, spacing)
    x = (column + 0.5 * (row % 2)) * spacing - 2 * spacing - shift_x
    y = row * (spacing * 0.866) - 2 * spacing - shift_y
    shake = rng.uniforms(-jitter * spacing, jitter * spacing, (2, rows * columns))
    x, y = x + shake[0], y + shake[1]
    near = (x > -spacing) & (x < FIELD_UM + spacing) & (y > -spacing) & (y < FIELD_UM + spacing)
    return x[near], y[near]


def step(value: Floats, width: float) -> Floats:
    """Soft edge: 0 below -width/2, 1 above width/2, linear between."""
    return np.clip(value / width + 0.5, 0.0, 1.0)
