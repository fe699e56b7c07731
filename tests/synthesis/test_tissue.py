"""Drawn tissue: identical on all machines, and similar to real tissue."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from morefromless.data.schemes import PANNUKE
from morefromless.synthesis import DRAWINGS, Patient, Rng, Tissue, draw
from tests.synthesis.digest import digest

DIGEST = "5bdac41df20613f05eef0f9ac027e5ce61c42a6d9442f149e9e0d3d9fb49d02c"


def draw_tissue(name: str, number: int = 0, size: int = 64) -> Tissue:
    return draw(name, Patient.sample(Rng(0, 0, number)), Rng(0, 1, number), size)


def test_drawn_bytes_never_change() -> None:
    assert digest() == DIGEST


def test_drawn_bytes_do_not_depend_on_the_instruction_set() -> None:
    """The same digest if NumPy uses none of its optional instruction sets."""
    internals = pytest.importorskip("numpy._core._multiarray_umath")
    optional = [name for name in internals.__cpu_dispatch__ if internals.__cpu_features__[name]]
    if not optional:
        pytest.skip("this NumPy has no optional instruction sets on this processor")
    run = subprocess.run(
        [sys.executable, "-m", "tests.synthesis.digest"],
        env={**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(optional)},
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(__file__))),
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == DIGEST


@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.parametrize("size", [16, 64, 97])
def test_instances_match_their_patch(name: str, size: int) -> None:
    tissue = draw_tissue(name, size=size)
    assert tissue.image.shape == (size, size, 3)
    assert tissue.image.dtype == np.uint8
    assert tissue.instances.shape == (size, size)
    present = np.unique(tissue.instances)
    assert present[present > 0].tolist() == list(range(1, len(tissue.types) + 1))
    assert set(tissue.types) <= set(range(1, 6))


@pytest.mark.parametrize("name", sorted(set(DRAWINGS) - {"ADI", "BACK"}))
def test_nuclei_are_where_the_image_is_dark(name: str) -> None:
    for number in range(3):
        tissue = draw_tissue(name, number, size=224)
        red = tissue.image[..., 0].astype(float)
        assert red[tissue.instances > 0].mean() < red[tissue.instances == 0].mean() - 25


@pytest.mark.parametrize(
    ("name", "kind", "share"),
    [
        ("TUM", "Neoplastic", 0.8),
        ("LYM", "Inflammatory", 1.0),
        ("STR", "Connective", 0.5),
        ("MUS", "Connective", 1.0),
        ("DEB", "Dead", 0.8),
        ("NORM", "Non-Neoplastic Epithelial", 0.5),
    ],
)
def test_each_tissue_has_its_own_cell_types(name: str, kind: str, share: float) -> None:
    types = np.concatenate([draw_tissue(name, number).types for number in range(6)])
    assert (types == PANNUKE.code(kind)).mean() >= share


def test_nuclei_have_the_sizes_of_their_kinds() -> None:
    def areas(name: str, kind: str) -> np.ndarray:  # type: ignore[type-arg]
        nucleus_areas = []
        for number in range(3):
            tissue = draw_tissue(name, number, size=224)
            pixels = np.bincount(tissue.instances.ravel())[1:]
            nucleus_areas.append(pixels[tissue.types == PANNUKE.code(kind)] * 0.25)
        return np.concatenate(nucleus_areas)

    lymphocytes = areas("LYM", "Inflammatory")
    neoplastic = areas("TUM", "Neoplastic")
    dead = areas("DEB", "Dead")
    assert 25 < np.median(lymphocytes) < 40  # µm², 6-7 µm across
    assert np.median(neoplastic) > 1.3 * np.median(lymphocytes)
    assert neoplastic.std() / neoplastic.mean() > 1.5 * lymphocytes.std() / lymphocytes.mean()
    assert np.median(dead) < 0.5 * np.median(lymphocytes)


def test_nuclei_are_in_one_piece() -> None:
    pieces = count = 0
    for name in ("LYM", "MUS", "NORM", "TUM"):
        tissue = draw_tissue(name, size=224)
        for place, number in zip(
            ndimage.find_objects(tissue.instances.astype(np.int32)),
            range(1, len(tissue.types) + 1),
            strict=True,
        ):
            pieces += ndimage.label(tissue.instances[place] == number, np.ones((3, 3)))[1]
            count += 1
    assert pieces <= 1.02 * count  # a neighbour may divide a long nucleus


@pytest.mark.parametrize("name", DRAWINGS)
def test_other_sizes_show_the_same_tissue(name: str) -> None:
    fine, coarse = draw_tissue(name, size=192), draw_tissue(name, size=48)
    reduced = fine.image.reshape(48, 4, 48, 4, 3).mean(axis=(1, 3))
    assert np.abs(reduced - coarse.image).mean() < 14
    if name != "BACK":
        agreement = np.corrcoef(reduced.ravel(), coarse.image.ravel().astype(float))[0, 1]
        assert agreement > 0.75


def test_patients_look_different_and_so_do_patches() -> None:
    means = [draw_tissue("MUS", number).image.mean(axis=(0, 1)) for number in range(12)]
    assert np.std(means, axis=0).min() > 4
    assert not np.array_equal(draw_tissue("MUS", 0).image, draw_tissue("MUS", 1).image)


def test_background_is_nearly_white_and_lymphocytes_are_darkest() -> None:
    light = {name: np.mean([draw_tissue(name, n).image for n in range(8)]) for name in DRAWINGS}
    assert light["BACK"] > 235
    assert min(light, key=lambda name: light[name]) in ("LYM", "TUM")
    assert sorted(light, key=lambda name: -light[name])[:2] == ["BACK", "ADI"]
