"""Fibrous tissue: smooth muscle (MUS), cancer-associated stroma (STR), mucus (MUC)."""

import numpy as np

from morefromless.synthesis.nuclei import Nuclei, lymphocytes, spindles
from morefromless.synthesis.rng import Floats, Rng
from morefromless.synthesis.sketch import Sketch
from morefromless.synthesis.texture import Grain, Noise, scatter_points, step


def muscle(rng: Rng, x: Floats, y: Floats, cellularity: float) -> Sketch:
    """Parallel, densely packed, strongly eosinophilic fibres with long nuclei along them."""
    grain = Grain(rng, bend=5.0, wavelength=60.0)
    along, across = grain.along_across(x, y)
    fibre = Noise(rng, 1.0)(along / 45.0, across / 3.2)
    bundle = Noise(rng, 1.0)(along / 90.0, across / 11.0)
    cleft = Noise(rng, 1.0)(along / 60.0, across / 8.0)
    split = step(cleft + 0.3 * fibre - rng.uniform(0.65, 0.95), 0.25)
    eosin = (0.78 + 0.2 * fibre + 0.14 * bundle) * (1.0 - 0.85 * split)
    haematoxylin = (0.14 + 0.07 * fibre) * (1.0 - split)

    nx, ny = scatter_points(rng, 18.5 / cellularity)
    nuclei = spindles(rng, nx, ny, grain.tangent(nx, ny))
    return Sketch(haematoxylin, eosin, nuclei)


def stroma(rng: Rng, x: Floats, y: Floats, cellularity: float) -> Sketch:
    """Wavy, looser collagen with gaps, spindle nuclei and a few inflammatory cells."""
    grain = Grain(rng, bend=rng.uniform(9.0, 16.0), wavelength=38.0)
    along, across = grain.along_across(x, y)
    strand = Noise(rng, 1.0)(along / 26.0, across / 2.2)
    coarse = Noise(rng, 1.0)(along / 50.0, across / 9.0)
    loose = rng.uniform(-0.2, 0.25)
    gap = step(loose - 0.6 - 0.7 * strand - 0.6 * coarse, 0.8)
    tint = rng.uniform(0.06, 0.2)
    eosin = (0.52 + 0.2 * strand + 0.14 * coarse) * (1.0 - 0.75 * gap)
    haematoxylin = (tint + 0.08 * Noise(rng, 14.0)(x, y)) * (1.0 - gap)

    nx, ny = scatter_points(rng, 19.0 / cellularity)
    fibroblasts = spindles(rng, nx, ny, grain.tangent(nx, ny))
    ix, iy = scatter_points(rng, 26.0)
    present = Noise(rng, 40.0)(ix, iy) > rng.uniform(0.0, 0.5)
    return Sketch(
        haematoxylin,
        eosin,
        Nuclei.concatenate([fibroblasts, lymphocytes(rng, ix[present], iy[present])]),
    )


def mucus(rng: Rng, x: Floats, y: Floats, cellularity: float) -> Sketch:
    """Pale bluish pools with thin strands, and very few cells."""
    grain = Grain(rng, bend=14.0, wavelength=48.0)
    along, across = grain.along_across(x, y)
    wisp = Noise(rng, 1.0)(along / 30.0, across / 3.0)
    strand = Noise(rng, 1.0)(along / 70.0, across / 13.0)
    cloud = Noise(rng, 30.0)(x, y)
    web = Noise(rng, 1.0)(along / 9.0, across / 1.8)
    thread = step(0.06 - np.abs(strand), 0.12)
    haematoxylin = 0.26 + 0.12 * cloud + 0.1 * wisp + 0.07 * web + 0.22 * thread
    pink = step(Noise(rng, 26.0)(x, y) - 0.45, 0.4)
    eosin = 0.05 + 0.03 * wisp + thread * (0.1 + 0.4 * pink)

    nx, ny = scatter_points(rng, 24.0 / cellularity)
    present = Noise(rng, 35.0)(nx, ny) > 0.35
    nx, ny = nx[present], ny[present]
    is_round = rng.uniforms(0.0, 1.0, len(nx)) < 0.5
    nuclei = Nuclei.concatenate(
        [
            lymphocytes(rng, nx[is_round], ny[is_round]),
            spindles(
                rng,
                nx[~is_round],
                ny[~is_round],
                grain.tangent(nx[~is_round], ny[~is_round]),
            ),
        ]
    )
    return Sketch(np.maximum(haematoxylin, 0.03), np.maximum(eosin, 0.0), nuclei)
