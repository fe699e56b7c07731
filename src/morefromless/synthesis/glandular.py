"""Glands: crypts of normal mucosa (NORM) and adenocarcinoma (TUM)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from morefromless.synthesis.blobs import Blobs, nearest
from morefromless.synthesis.nuclei import Nuclei, epithelial, lymphocytes, neoplastic, spindles
from morefromless.synthesis.rng import Floats, Rng, circle, unit
from morefromless.synthesis.sketch import Sketch
from morefromless.synthesis.texture import FIELD_UM, Grain, Noise, scatter_points, step


def normal_mucosa(rng: Rng, x: Floats, y: Floats, cellularity: float) -> Sketch:
    """Round crypts with basal nuclei, goblets and a lumen, in a cell-rich lamina propria."""
    glands = _Glands.sample(rng, spacing=rng.uniform(62.0, 80.0), fill=0.42, uneven=0.07)
    lumen = rng.uniform(0.12, 0.28)
    rho = glands.depth(x, y)
    goblets, basal = _crypt_cells(rng, glands)
    _, radius = nearest(goblets, rho.shape[0])
    goblet = step(1.0 - radius, 0.25) * step(0.86 - rho, 0.06)

    loose = step(Noise(rng, 11.0)(x, y) + 0.35 * Noise(rng, 4.0)(x, y) - 0.05, 0.5)
    fine = Noise(rng, 3.0)(x, y)
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

    sx, sy = scatter_points(rng, 8.6 / cellularity)
    rho_s = glands.depth(sx, sy)
    keep = (rho_s > 1.17) & (rng.uniforms(0.0, 1.0, len(sx)) < 0.75)
    sx, sy = sx[keep], sy[keep]
    stromal = rng.uniforms(0.0, 1.0, len(sx)) < 0.25
    nuclei = Nuclei.concatenate(
        [
            basal,
            lymphocytes(rng, sx[~stromal], sy[~stromal]),
            spindles(rng, sx[stromal], sy[stromal], rng.directions(int(np.count_nonzero(stromal)))),
        ]
    )
    return Sketch(haematoxylin, eosin, nuclei)


def adenocarcinoma(rng: Rng, x: Floats, y: Floats, cellularity: float) -> Sketch:
    """Crowded, large, uneven nuclei in irregular glands or solid sheets, with little stroma."""
    grade = rng.uniform(0.0, 1.0)
    spacing = rng.uniform(55.0, 90.0)
    glands = _Glands.sample(rng, spacing, fill=rng.uniform(0.5, 0.62), uneven=0.14 + 0.12 * grade)
    lumen = rng.uniform(0.15, 0.42) if rng.bernoulli(0.75) else 0.0
    rho = glands.depth(x, y)
    fine, patchy = Noise(rng, 3.0)(x, y), Noise(rng, 18.0)(x, y)
    inside = step(1.0 - rho, 0.08)
    opening = step(lumen - rho, 0.05)
    grain = Grain(rng, bend=10.0, wavelength=40.0)
    along, across = grain.along_across(x, y)
    strand = Noise(rng, 1.0)(along / 30.0, across / 2.6)
    stroma_e, stroma_h = 0.42 + 0.25 * strand, 0.12 + 0.04 * fine
    cell_e, cell_h = 0.5 + 0.1 * patchy + 0.07 * fine, 0.27 + 0.08 * patchy + 0.05 * fine
    eosin = stroma_e + (cell_e - stroma_e) * inside
    haematoxylin = stroma_h + (cell_h - stroma_h) * inside
    debris = 0.25 * step(Noise(rng, 7.0)(x + 3.0 * fine, y + 5.0 * patchy) - 0.35, 0.9)
    eosin = eosin + (0.04 + debris - eosin) * opening
    haematoxylin = haematoxylin + (0.03 + 0.3 * debris - haematoxylin) * opening

    nx, ny = scatter_points(rng, (8.4 + 1.6 * grade) / cellularity, jitter=0.3)
    rho_n = glands.depth(nx, ny)
    apical = lumen + (0.13 if lumen else 0.0)  # cytoplasm borders the lumen, nuclei do not
    epithelium = (rho_n > apical) & (rho_n < 0.97)
    between = (rho_n > 1.06) & (rng.uniforms(0.0, 1.0, len(nx)) < 0.35)
    axis = glands.outward(nx[epithelium], ny[epithelium])
    tangent = grain.tangent(nx[between], ny[between])
    nuclei = Nuclei.concatenate(
        [
            neoplastic(rng, nx[epithelium], ny[epithelium], axis, grade),
            spindles(rng, nx[between], ny[between], tangent),
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
    def sample(cls, rng: Rng, spacing: float, fill: float, uneven: float) -> "_Glands":
        """Glands about `spacing` µm apart, with a mean radius of `fill` spacings."""
        x, y = scatter_points(rng, spacing, jitter=0.12)
        near = 0.8 * spacing  # glands farther outside hardly extend into the patch
        near_x, near_y = (x > -near) & (x < FIELD_UM + near), (y > -near) & (y < FIELD_UM + near)
        x, y = x[near_x & near_y], y[near_x & near_y]
        radius = spacing * fill * rng.uniforms(0.88, 1.1, len(x))
        stretch = rng.uniforms(1.0, 1.0 + 3.0 * uneven, len(x))
        noise = Noise(rng, spacing * 0.3)
        return cls(x, y, radius, stretch, rng.directions(len(x)), uneven, noise)

    def depth(self, x: Floats, y: Floats) -> Floats:
        """Depth in the nearest gland, at points (N,) or pixels (1, S), (S, 1)."""
        square = self._squares(x, y).min(axis=0)
        depth: Floats = np.sqrt(square) * (1.0 + self.uneven * self.noise(x, y))
        return depth

    def outward(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Unit vectors at points, away from the centre of the nearest gland."""
        nearest = self._squares(x, y).argmin(axis=0)
        return unit(x - self.x[nearest], y - self.y[nearest])

    def _squares(self, x: Floats, y: Floats) -> Floats:
        """Squared depth in every gland (first axis), without the unevenness of the outline."""
        per_gland = (slice(None), *(None for _ in range(x.ndim)))
        c, s = self.direction[0][per_gland], self.direction[1][per_gland]
        long = 1.0 / (self.radius * self.stretch)[per_gland]
        short = 1.0 / (self.radius / self.stretch)[per_gland]
        long, short = long * long, short * short
        dx, dy = x - self.x[per_gland], y - self.y[per_gland]
        mixed = 2.0 * c * s * (long - short)
        right = (c * c * long + s * s * short) * dx * dx
        down = (s * s * long + c * c * short) * dy
        # Grouped so that arrays stay (1, S) or (S, 1) until the last three operations.
        squares: Floats = right + (mixed * dx + down) * dy
        return squares


def _crypt_cells(rng: Rng, glands: _Glands) -> tuple[Blobs, Nuclei]:
    """Goblets and basal nuclei of every crypt, in rings around its centre."""
    gland, x, y, outward = _rings(rng, glands, at=(0.5, 0.68), apart=13.3)
    count = len(gland)
    size = rng.uniforms(0.7, 1.15, count)
    flat = np.zeros(count)
    goblets = Blobs(x, y, 0.24 * glands.radius[gland] * size, 4.2 * size, *outward, flat, flat)
    full = rng.uniforms(0.0, 1.0, count) < 0.8
    _, x, y, outward = _rings(rng, glands, at=(0.82, 0.93), apart=4.9)
    return goblets[full], epithelial(rng, x, y, outward)


def _rings(
    rng: Rng, glands: _Glands, at: tuple[float, float], apart: float
) -> tuple[npt.NDArray[np.int64], Floats, Floats, tuple[Floats, Floats]]:
    """Cells around every gland at a depth in the range `at`, `apart` µm apart along the outline.

    Returns the gland and the position of each cell, and its unit vector out of the gland.
    """
    counts = (6.28 * glands.radius / apart).astype(np.int64)
    gland = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(gland)) - (np.cumsum(counts) - counts)[gland]
    jittered = place + rng.uniforms(-0.3, 0.3, len(gland))
    turn = rng.uniforms(0.0, 1.0, len(counts))
    cosine, sine = circle(jittered / counts[gland] + turn[gland])
    depth = rng.uniforms(*at, len(gland)) * glands.radius[gland]
    u, v = cosine * depth * glands.stretch[gland], sine * depth / glands.stretch[gland]
    c, s = glands.direction[0][gland], glands.direction[1][gland]
    dx, dy = u * c - v * s, u * s + v * c
    # The ring follows the uneven outline of the gland.
    bulge = 1.0 + glands.uneven * glands.noise(glands.x[gland] + dx, glands.y[gland] + dy)
    dx, dy = dx / bulge, dy / bulge
    return gland, glands.x[gland] + dx, glands.y[gland] + dy, unit(dx, dy)
