"""No fibres, no glands: fat (ADI), background (BACK), debris (DEB), lymphocytes (LYM)."""

import numpy as np

from morefromless.synthesis.chance import Chance, Floats, unit
from morefromless.synthesis.nuclei import Nuclei, fragments, lymphocytes, spindles
from morefromless.synthesis.sketch import Sketch
from morefromless.synthesis.texture import FIELD, Noise, scattered, step


def fat(chance: Chance, x: Floats, y: Floats, cellularity: float) -> Sketch:
    """Large empty cells with thin membranes, and a flat nucleus here and there on one."""
    cx, cy = scattered(chance, chance.uniform(48.0, 72.0), jitter=0.25)
    sway_x, sway_y = Noise(chance, 30.0), Noise(chance, 30.0)
    wx, wy = x + 4.0 * sway_x(x, y), y + 4.0 * sway_y(x, y)
    first = second = third = np.full(wx.shape, 1e9)
    for i in range(len(cx)):
        dx, dy = wx - cx[i], wy - cy[i]
        distance = dx * dx + dy * dy  # its root is taken at the end: the order is the same
        third = np.minimum(third, np.maximum(second, distance))
        second = np.minimum(second, np.maximum(first, distance))
        first = np.minimum(first, distance)
    first, second, third = np.sqrt(first), np.sqrt(second), np.sqrt(third)
    soft = FIELD / wx.shape[0]
    thick = 0.7 + 0.5 * Noise(chance, 25.0)(x, y)
    # where three cells meet, a wedge of tissue is left between the round cells
    wedge = 5.0 * step(9.0 - (third - first), 9.0)
    membrane = step(thick + wedge * 0.5 - 0.5 * (second - first), soft)
    fine = Noise(chance, 4.0)(x, y)
    empty = 0.03 + 0.03 * chance.uniform(0.0, 1.0)
    eosin = empty + (0.48 + 0.15 * fine) * membrane
    haematoxylin = 0.02 + (0.14 + 0.06 * fine) * membrane

    a = chance.order(len(cx))[: max(3, int(6 * cellularity))]
    gap_x, gap_y = cx[a][:, None] - cx, cy[a][:, None] - cy
    b = np.argsort(gap_x * gap_x + gap_y * gap_y, axis=1, kind="stable")[:, 1]
    share = chance.uniforms(-0.25, 0.25, len(a))
    over = unit(cx[b] - cx[a], cy[b] - cy[a])
    nx = (cx[a] + cx[b]) * 0.5 - share * (cy[b] - cy[a])
    ny = (cy[a] + cy[b]) * 0.5 + share * (cx[b] - cx[a])
    return Sketch(haematoxylin, eosin, spindles(chance, nx, ny, (-over[1], over[0])))


def background(chance: Chance, x: Floats, y: Floats, cellularity: float) -> Sketch:  # noqa: ARG001
    """Glass: nearly white, unevenly lit, with a speck of dust now and then."""
    shade = chance.uniform(0.0, 0.06) + 0.015 * Noise(chance, 60.0)(x, y)
    dust = step(Noise(chance, 5.0)(x, y) - 0.93, 0.1) * chance.uniform(0.0, 0.5)
    blue = chance.uniform(0.0, 1.0)
    nothing = np.zeros(0)
    return Sketch(
        np.maximum(shade * blue, 0.0) + dust,
        np.maximum(shade * (1.0 - blue), 0.0),
        lymphocytes(chance, nothing, nothing),
    )


def debris(chance: Chance, x: Floats, y: Floats, cellularity: float) -> Sketch:
    """A granular eosinophilic smear of dead tissue with the fragments of its nuclei."""
    coarse, middle = Noise(chance, 22.0)(x, y), Noise(chance, 7.0)(x, y)
    fine = Noise(chance, 2.5)(x, y)
    sway_x, sway_y = Noise(chance, 9.0)(x, y), Noise(chance, 9.0)(x, y)
    c, s = chance.direction()
    torn = Noise(chance, 15.0)(
        x * c + y * s + 4.0 * sway_x + 2.0 * fine, y * c - x * s + 4.0 * sway_y + 2.0 * middle
    )
    worn = 1.0 - 0.75 * step(torn - 0.45 + 0.3 * coarse, 0.45)
    eosin = np.maximum((0.5 + 0.16 * coarse + 0.16 * middle + 0.14 * fine) * worn, 0.02)
    haematoxylin = np.maximum((0.17 + 0.09 * middle + 0.08 * fine) * worn, 0.0)

    nx, ny = scattered(chance, 7.0 / cellularity, jitter=0.5)
    keep = Noise(chance, 20.0)(nx, ny) > -0.15
    dead = fragments(chance, nx[keep], ny[keep])
    ix, iy = scattered(chance, 30.0)
    few = chance.uniforms(0.0, 1.0, len(ix)) < 0.4
    return Sketch(haematoxylin, eosin, Nuclei.joined([dead, lymphocytes(chance, ix[few], iy[few])]))


def lymphoid(chance: Chance, x: Floats, y: Floats, cellularity: float) -> Sketch:
    """A carpet of lymphocytes with hardly anything between."""
    coarse, fine = Noise(chance, 16.0)(x, y), Noise(chance, 4.0)(x, y)
    loose = chance.uniform(-0.4, 0.35)
    gap = step(loose + 0.6 * fine - coarse * 0.6 - 0.2, 0.5)
    eosin = (0.3 + 0.08 * fine) * (1.0 - 0.8 * gap)
    haematoxylin = (0.25 + 0.06 * coarse) * (1.0 - 0.8 * gap)
    nx, ny = scattered(chance, chance.uniform(7.0, 8.6) / cellularity, jitter=0.3)
    keep = chance.uniforms(0.0, 1.0, len(nx)) < 0.95
    return Sketch(haematoxylin, eosin, lymphocytes(chance, nx[keep], ny[keep]))
