"""Classes without fibres and glands: fat (ADI), background (BACK), debris (DEB), lymphoid (LYM)."""

import numpy as np

from morefromless.synthesis.nuclei import Nuclei, fragments, lymphocytes, spindles
from morefromless.synthesis.rng import Floats, Rng, unit
from morefromless.synthesis.sketch import Sketch
from morefromless.synthesis.texture import FIELD_UM, Noise, scatter_points, step


def fat(rng: Rng, x: Floats, y: Floats, cellularity: float) -> Sketch:
    """Large empty cells with thin membranes, and a few flat nuclei on the membranes."""
    cx, cy = scatter_points(rng, rng.uniform(48.0, 72.0), jitter=0.25)
    sway_x, sway_y = Noise(rng, 30.0), Noise(rng, 30.0)
    wx, wy = x + 4.0 * sway_x(x, y), y + 4.0 * sway_y(x, y)
    first = second = third = np.full(wx.shape, 1e9)
    for i in range(len(cx)):
        dx, dy = wx - cx[i], wy - cy[i]
        distance = dx * dx + dy * dy  # squared; the square root below keeps the order
        third = np.minimum(third, np.maximum(second, distance))
        second = np.minimum(second, np.maximum(first, distance))
        first = np.minimum(first, distance)
    first, second, third = np.sqrt(first), np.sqrt(second), np.sqrt(third)
    soft = FIELD_UM / wx.shape[0]
    thick = 0.7 + 0.5 * Noise(rng, 25.0)(x, y)
    # Where three cells meet, a wedge of tissue fills the space between the round cells.
    wedge = 5.0 * step(9.0 - (third - first), 9.0)
    membrane = step(thick + wedge * 0.5 - 0.5 * (second - first), soft)
    fine = Noise(rng, 4.0)(x, y)
    empty = 0.03 + 0.03 * rng.uniform(0.0, 1.0)
    eosin = empty + (0.48 + 0.15 * fine) * membrane
    haematoxylin = 0.02 + (0.14 + 0.06 * fine) * membrane

    a = rng.order(len(cx))[: max(3, int(6 * cellularity))]
    gap_x, gap_y = cx[a][:, None] - cx, cy[a][:, None] - cy
    b = np.argsort(gap_x * gap_x + gap_y * gap_y, axis=1, kind="stable")[:, 1]
    share = rng.uniforms(-0.25, 0.25, len(a))
    over = unit(cx[b] - cx[a], cy[b] - cy[a])
    nx = (cx[a] + cx[b]) * 0.5 - share * (cy[b] - cy[a])
    ny = (cy[a] + cy[b]) * 0.5 + share * (cx[b] - cx[a])
    return Sketch(haematoxylin, eosin, spindles(rng, nx, ny, (-over[1], over[0])))


def background(rng: Rng, x: Floats, y: Floats, cellularity: float) -> Sketch:  # noqa: ARG001
    """Glass: nearly white, unevenly lit, sometimes with a speck of dust."""
    shade = rng.uniform(0.0, 0.06) + 0.015 * Noise(rng, 60.0)(x, y)
    dust = step(Noise(rng, 5.0)(x, y) - 0.93, 0.1) * rng.uniform(0.0, 0.5)
    blue = rng.uniform(0.0, 1.0)
    nothing = np.zeros(0)
    return Sketch(
        np.maximum(shade * blue, 0.0) + dust,
        np.maximum(shade * (1.0 - blue), 0.0),
        lymphocytes(rng, nothing, nothing),
    )


def debris(rng: Rng, x: Floats, y: Floats, cellularity: float) -> Sketch:
    """Granular eosinophilic dead tissue with fragments of nuclei."""
    coarse, middle = Noise(rng, 22.0)(x, y), Noise(rng, 7.0)(x, y)
    fine = Noise(rng, 2.5)(x, y)
    sway_x, sway_y = Noise(rng, 9.0)(x, y), Noise(rng, 9.0)(x, y)
    c, s = rng.direction()
    torn = Noise(rng, 15.0)(
        x * c + y * s + 4.0 * sway_x + 2.0 * fine, y * c - x * s + 4.0 * sway_y + 2.0 * middle
    )
    worn = 1.0 - 0.75 * step(torn - 0.45 + 0.3 * coarse, 0.45)
    eosin = np.maximum((0.5 + 0.16 * coarse + 0.16 * middle + 0.14 * fine) * worn, 0.02)
    haematoxylin = np.maximum((0.17 + 0.09 * middle + 0.08 * fine) * worn, 0.0)

    nx, ny = scatter_points(rng, 7.0 / cellularity, jitter=0.5)
    keep = Noise(rng, 20.0)(nx, ny) > -0.15
    dead = fragments(rng, nx[keep], ny[keep])
    ix, iy = scatter_points(rng, 30.0)
    few = rng.uniforms(0.0, 1.0, len(ix)) < 0.4
    return Sketch(
        haematoxylin, eosin, Nuclei.concatenate([dead, lymphocytes(rng, ix[few], iy[few])])
    )


def lymphoid(rng: Rng, x: Floats, y: Floats, cellularity: float) -> Sketch:
    """Densely packed lymphocytes with little between them."""
    coarse, fine = Noise(rng, 16.0)(x, y), Noise(rng, 4.0)(x, y)
    loose = rng.uniform(-0.4, 0.35)
    gap = step(loose + 0.6 * fine - coarse * 0.6 - 0.2, 0.5)
    eosin = (0.3 + 0.08 * fine) * (1.0 - 0.8 * gap)
    haematoxylin = (0.25 + 0.06 * coarse) * (1.0 - 0.8 * gap)
    nx, ny = scatter_points(rng, rng.uniform(7.0, 8.6) / cellularity, jitter=0.3)
    keep = rng.uniforms(0.0, 1.0, len(nx)) < 0.95
    return Sketch(haematoxylin, eosin, lymphocytes(rng, nx[keep], ny[keep]))
