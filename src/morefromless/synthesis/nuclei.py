"""Nuclei: their types, the appearance of each type, and the pixels of each nucleus."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from morefromless.data.schemes import PANNUKE
from morefromless.synthesis.blobs import Blobs, nearest
from morefromless.synthesis.rng import Floats, Rng, unit
from morefromless.synthesis.texture import FIELD_UM, Noise, pixels


@dataclass(frozen=True)
class Nuclei(Blobs):
    """N nuclei: outlines (see `Blobs`), PanNuke type, and haematoxylin uptake.

    `density` is the concentration at the rim. The centre has (1 - `pale`) times this concentration
    (vesicular nuclei are pale inside). `clump` is the contrast of the chromatin.
    """

    kind: npt.NDArray[np.uint8]
    density: Floats
    pale: Floats
    clump: Floats


def lymphocytes(rng: Rng, x: Floats, y: Floats) -> Nuclei:
    """Small, round, dark and dense."""
    return _Appearance(
        kind="Inflammatory",
        long=(2.7, 3.7),
        ratio=(0.85, 1.0),
        wave=0.05,
        density=(1.1, 1.6),
        pale=0.15,
        clump=0.25,
    ).at(rng, x, y, rng.directions(len(x)))


def spindles(rng: Rng, x: Floats, y: Floats, tangent: tuple[Floats, Floats]) -> Nuclei:
    """Long and thin, along the fibres (PanNuke counts muscle as connective)."""
    return _Appearance(
        kind="Connective",
        long=(4.0, 8.5),
        ratio=(0.16, 0.3),
        wave=0.08,
        density=(0.9, 1.4),
        pale=0.15,
        clump=0.2,
    ).at(rng, x, y, tangent)


def epithelial(rng: Rng, x: Floats, y: Floats, axis: tuple[Floats, Floats]) -> Nuclei:
    """Oval, even in size and regular in outline, along the axis of the cell."""
    return _Appearance(
        kind="Non-Neoplastic Epithelial",
        long=(3.4, 4.4),
        ratio=(0.55, 0.75),
        wave=0.04,
        density=(0.9, 1.2),
        pale=0.2,
        clump=0.2,
    ).at(rng, x, y, axis)


def neoplastic(rng: Rng, x: Floats, y: Floats, axis: tuple[Floats, Floats], grade: float) -> Nuclei:
    """Large, irregular, uneven; vesicular with clumped chromatin. `grade` 0 ... 1."""
    return _Appearance(
        kind="Neoplastic",
        long=(3.9, 5.0 + 2.2 * grade),
        ratio=(0.5, 0.8),
        wave=0.08 + 0.08 * grade,
        density=(0.9, 1.5),
        pale=0.45,
        clump=0.4,
    ).at(rng, x, y, axis)


def fragments(rng: Rng, x: Floats, y: Floats) -> Nuclei:
    """Remains of dead nuclei: shrunken, broken, black or pale."""
    return _Appearance(
        kind="Dead",
        long=(0.7, 3.0),
        ratio=(0.5, 0.95),
        wave=0.16,
        density=(0.35, 1.6),
        pale=0.1,
        clump=0.3,
    ).at(rng, x, y, rng.directions(len(x)))


@dataclass(frozen=True, kw_only=True)
class _Appearance:
    """Appearance of a PanNuke type: ranges of the long semi-axis in µm, of the ratio of short to
    long semi-axis, and of density; the other fields are as in `Nuclei`."""

    kind: str
    long: tuple[float, float]
    ratio: tuple[float, float]
    wave: float
    density: tuple[float, float]
    pale: float
    clump: float

    def at(self, rng: Rng, x: Floats, y: Floats, axis: tuple[Floats, Floats]) -> Nuclei:
        count = len(x)
        long = rng.uniforms(*self.long, count)
        # Real nuclei are not perfectly aligned: each deviates slightly from its axis.
        lean_x, lean_y = rng.directions(count)
        direction = unit(axis[0] + 0.25 * lean_x, axis[1] + 0.25 * lean_y)
        return Nuclei(
            x=x,
            y=y,
            long=long,
            short=long * rng.uniforms(*self.ratio, count),
            direction_x=direction[0],
            direction_y=direction[1],
            wave_two=rng.uniforms(-self.wave, self.wave, count),
            wave_three=rng.uniforms(-self.wave, self.wave, count),
            kind=np.full(count, PANNUKE.code(self.kind), np.uint8),
            density=rng.uniforms(*self.density, count),
            pale=np.full(count, self.pale),
            clump=np.full(count, self.clump),
        )


@dataclass(frozen=True)
class NucleiMap:
    """Nuclei on the pixels of one patch.

    `instances` (size, size) uint16: 0 for background, else 1 ... M without gaps. `types` (M,)
    uint8: the type of instance k at k - 1. `cover` and `haematoxylin` (size, size) floats: the
    share of a pixel that is nucleus, and the concentration from nuclei.
    """

    instances: npt.NDArray[np.uint16]
    types: npt.NDArray[np.uint8]
    cover: Floats
    haematoxylin: Floats


def draw_nuclei(rng: Rng, nuclei: Nuclei, size: int) -> NucleiMap:
    """Draw nuclei. Where two overlap, a pixel belongs to the nucleus with the nearer centre.

    A nucleus without pixels (outside, hidden, or smaller than a pixel) has no instance.
    """
    chromatin = Noise(rng, 1.6)
    if len(nuclei) == 0:
        nothing = np.zeros((size, size))
        return NucleiMap(nothing.astype(np.uint16), np.zeros(0, np.uint8), nothing, nothing)
    um = FIELD_UM / size
    owner, radius = nearest(nuclei, size)
    cover = np.clip((1.0 - radius) * (nuclei.short / um)[owner] + 0.5, 0.0, 1.0)
    cover[owner < 0] = 0.0
    inside = np.minimum(radius, 1.0)
    depth = nuclei.density[owner] * (1.0 - nuclei.pale[owner] * (1.0 - inside * inside))
    if um < 1.0:  # larger pixels do not resolve chromatin
        depth *= 1.0 + nuclei.clump[owner] * chromatin(*pixels(size))

    within = (radius <= 1.0) & (owner >= 0)
    present = np.zeros(len(nuclei), dtype=bool)
    present[owner[within]] = True
    number = np.where(present, np.cumsum(present), 0)
    instances = np.where(within, number[owner], 0).astype(np.uint16)
    return NucleiMap(instances, nuclei.kind[present], cover, depth * cover)
