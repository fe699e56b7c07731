"""Glands: crypts of normal mucosa (NORM) and adenocarcinoma (TUM)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from morefromless.synthesis.blobs import Blobs, nearest
from morefromless.synthesis.chance import Chance, Floats, around, unit
from morefromless.synthesis.nuclei import Nuclei, epithelial, lymphocytes, neoplastic, spindles
from morefromless.synthesis.sketch import Sketch
from morefromless.synthesis.texture import FIELD, Grain, Noise, scattered, step


def normal_mucosa(chance: Chance, x: Floats, y: Floats, cellularity: float) -> Sketch:
    """Round crypts: basal nuclei, goblet cells, a lumen; between them a cell-rich lamina propria."""
    glands = _Glands.drawn(chance, spacing=chance.uniform(62.0, 80.0), fill=0.42, uneven=0.07)
    lumen = chance.uniform(0.12, 0.28)
    rho = glands.depth(x, y)
    goblets, basal = _crypt_cells(chance, glands)
    _, radius = nearest(goblets, rho.shape[0])
    goblet = step(1.0 - radius, 0.25) * step(0.86 - rho, 0.06)

    loose = step(Noise(chance, 11.0)(x, y) + 0.35 * Noise(chance, 4.0)(x, y) - 0.05, 0.5)
    fine = Noise(chance, 3.0)(x, y)
    inside = step(1.0 - rho, 0.05)
    opening = step(lumen - rho, 0.08)
    membrane = step(0.035 - np.abs(rho - 1.03), 0.05)
    cell_e, cell_h = 0.52 + 0.08 * fine, 0.27 + 0.05 * fine
    pale_e, pale_h = 0.07, 0.15 + 0.07 * fine
    eosin = cell_e + (pale_e - cell_e) * goblet
    haematoxylin = cell_h + (pale_h - cell_h) * goblet
    eosin = eosin * (1.0 - opening) + 0.05 * opening
    haematoxylin = haematoxylin * (1.0 - opening) + 0.08 * opening
    outside_e, outside_h = 0.42 - 0.34 * loose + 0.07 * fine, 0.16 - 0.11 * loose
    eosin = outside_e + (eosin - outside_e) * inside + 0.3 * membrane
    haematoxylin = outside_h + (haematoxylin - outside_h) * inside

    sx, sy = scattered(chance, 8.6 / cellularity)
    rho_s = glands.depth(sx, sy)
    keep = (rho_s > 1.17) & (chance.uniforms(0.0, 1.0, len(sx)) < 0.75)
    sx, sy = sx[keep], sy[keep]
    stromal = chance.uniforms(0.0, 1.0, len(sx)) < 0.25
    nuclei = Nuclei.joined(
        [
            basal,
            lymphocytes(chance, sx[~stromal], sy[~stromal]),
            spindles(
                chance, sx[stromal], sy[stromal], chance.directions(int(np.count_nonzero(stromal)))
            ),
        ]
    )
    return Sketch(haematoxylin, eosin, nuclei)


def adenocarcinoma(chance: Chance, x: Floats, y: Floats, cellularity: float) -> Sketch:
    """Crowded, large, uneven nuclei in misshapen glands or solid sheets, little stroma between."""
    grade = chance.uniform(0.0, 1.0)
    spacing = chance.uniform(55.0, 90.0)
    glands = _Glands.drawn(
        chance, spacing, fill=chance.uniform(0.5, 0.62), uneven=0.14 + 0.12 * grade
    )
    lumen = chance.uniform(0.15, 0.42) if chance.chosen(0.75) else 0.0
    rho = glands.depth(x, y)
    fine, patchy = Noise(chance, 3.0)(x, y), Noise(chance, 18.0)(x, y)
    inside = step(1.0 - rho, 0.08)
    opening = step(lumen - rho, 0.05)
    grain = Grain(chance, bend=10.0, wavelength=40.0)
    along, across = grain.along_across(x, y)
    strand = Noise(chance, 1.0)(along / 30.0, across / 2.6)
    stroma_e, stroma_h = 0.42 + 0.25 * strand, 0.12 + 0.04 * fine
    cell_e, cell_h = 0.5 + 0.1 * patchy + 0.07 * fine, 0.34 + 0.1 * patchy + 0.05 * fine
    eosin = stroma_e + (cell_e - stroma_e) * inside
    haematoxylin = stroma_h + (cell_h - stroma_h) * inside
    debris = 0.3 * step(Noise(chance, 5.0)(x + 2.0 * fine, y + 3.0 * patchy) - 0.2, 0.7)
    eosin = eosin + (0.04 + debris - eosin) * opening
    haematoxylin = haematoxylin + (0.03 + 0.3 * debris - haematoxylin) * opening

    nx, ny = scattered(chance, (8.4 + 1.6 * grade) / cellularity, jitter=0.3)
    rho_n = glands.depth(nx, ny)
    apical = lumen + (0.13 if lumen else 0.0)  # cytoplasm, not nuclei, borders a lumen
    epithelium = (rho_n > apical) & (rho_n < 0.97)
    between = (rho_n > 1.06) & (chance.uniforms(0.0, 1.0, len(nx)) < 0.35)
    axis = glands.outward(nx[epithelium], ny[epithelium])
    tangent = grain.tangent(nx[between], ny[between])
    nuclei = Nuclei.joined(
        [
            neoplastic(chance, nx[epithelium], ny[epithelium], axis, grade),
            spindles(chance, nx[between], ny[between], tangent),
        ]
    )
    return Sketch(haematoxylin, np.maximum(eosin, 0.0), nuclei)


@dataclass(frozen=True)
class _Glands:
    """Ellipses with uneven outlines; `depth` is 0 at a gland's centre, 1 at its edge."""

    x: Floats
    y: Floats
    radius: Floats
    stretch: Floats
    direction: tuple[Floats, Floats]
    uneven: float
    noise: Noise

    @classmethod
    def drawn(cls, chance: Chance, spacing: float, fill: float, uneven: float) -> "_Glands":
        """Glands about `spacing` µm apart, with a mean radius of `fill` spacings."""
        x, y = scattered(chance, spacing, jitter=0.12)
        near = 0.8 * spacing  # farther out, a gland does not reach into the patch
        near_x, near_y = (x > -near) & (x < FIELD + near), (y > -near) & (y < FIELD + near)
        x, y = x[near_x & near_y], y[near_x & near_y]
        radius = spacing * fill * chance.uniforms(0.88, 1.1, len(x))
        stretch = chance.uniforms(1.0, 1.0 + 3.0 * uneven, len(x))
        noise = Noise(chance, spacing * 0.3)
        return cls(x, y, radius, stretch, chance.directions(len(x)), uneven, noise)

    def depth(self, x: Floats, y: Floats) -> Floats:
        """Depth in the nearest gland at points or pixels."""
        return self._nearest(x, y)[0]

    def outward(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Unit vectors at points, away from the centre of the nearest gland."""
        nearest = self._nearest(x, y)[1]
        return unit(x - self.x[nearest], y - self.y[nearest])

    def _nearest(self, x: Floats, y: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
        square = np.full(np.broadcast(x, y).shape, np.inf)
        owner = np.zeros(square.shape, np.int64)
        for i in range(len(self.x)):
            dx, dy = x - self.x[i], y - self.y[i]
            c, s = self.direction[0][i], self.direction[1][i]
            long, short = self.radius[i] * self.stretch[i], self.radius[i] / self.stretch[i]
            u = dx * (c / long) + dy * (s / long)
            v = dy * (c / short) - dx * (s / short)
            here = u * u + v * v
            owner[here < square] = i
            square = np.minimum(square, here)
        return np.sqrt(square) * (1.0 + self.uneven * self.noise(x, y)), owner


def _crypt_cells(chance: Chance, glands: _Glands) -> tuple[Blobs, Nuclei]:
    """Goblets and basal nuclei of every crypt, in rings round its centre."""
    goblets, basal = [], []
    for i in range(len(glands.x)):
        radius = float(glands.radius[i])
        count = int(6.28 * radius * 0.6 / 8.0)
        depth = chance.uniforms(0.5, 0.68, count)
        gx, gy, out_x, out_y = _ring(chance, glands, i, depth)
        size = chance.uniforms(0.7, 1.15, count)
        flat = np.zeros(count)
        full = chance.uniforms(0.0, 1.0, count) < 0.8
        ring = Blobs(gx, gy, 0.24 * radius * size, 4.2 * size, out_x, out_y, flat, flat)
        goblets.append(ring[full])
        count = int(6.28 * radius * 0.9 / 4.4)
        bx, by, out_x, out_y = _ring(chance, glands, i, chance.uniforms(0.82, 0.93, count))
        basal.append(epithelial(chance, bx, by, (out_x, out_y)))
    return Blobs.joined(goblets), Nuclei.joined(basal)


def _ring(
    chance: Chance, glands: _Glands, gland: int, depth: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Points at these depths round one gland, and the unit vectors out of it."""
    count = len(depth)
    cosine, sine = around(count, chance.uniforms(-0.3, 0.3, count), chance.uniform(0.0, 1.0))
    c, s = glands.direction[0][gland], glands.direction[1][gland]
    u = cosine * depth * (glands.radius[gland] * glands.stretch[gland])
    v = sine * depth * (glands.radius[gland] / glands.stretch[gland])
    dx, dy = u * c - v * s, u * s + v * c
    # The outline is uneven: where it bulges, so does the ring.
    bulge = 1.0 + glands.uneven * glands.noise(glands.x[gland] + dx, glands.y[gland] + dy)
    dx, dy = dx / bulge, dy / bulge
    return glands.x[gland] + dx, glands.y[gland] + dy, *unit(dx, dy)
