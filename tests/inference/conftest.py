"""A run, its patches as files, and a small slide."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from morefromless.data.store import Store
from morefromless.runs import Run
from morefromless.training.pretrain import pretrain
from tests.conftest import run_config

SIDE = 32


@pytest.fixture(scope="session")
def run(tissue: Store, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An asymmetric run of two epochs."""
    out = tmp_path_factory.mktemp("runs") / "asymmetric"
    return pretrain(run_config(tissue.path, out, primary="downsample:4"))


@pytest.fixture(scope="session")
def folder(tissue: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first patches of the store, as files."""
    path = tmp_path_factory.mktemp("patches")
    for row in range(8):
        Image.fromarray(np.asarray(tissue.array("he")[row])).save(path / f"{row}.png")
    return path


@pytest.fixture(scope="session")
def slide(tissue: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """512 x 256 px: a grid of 6 x 4 patches of the store, surrounded by glass."""
    pixels = np.full((256, 512, 3), 245, np.uint8)
    for row in range(4):
        for column in range(6):
            y, x = (row + 2) * SIDE, (column + 2) * SIDE
            pixels[y : y + SIDE, x : x + SIDE] = tissue.array("he")[6 * row + column]
    return write_slide(tmp_path_factory.mktemp("slides") / "slide.svs", pixels, tissue.um_per_px)


def write_slide(path: Path, pixels: np.ndarray, um_per_px: float | None) -> Path:
    """A tiled TIFF with a resolution that states its magnification."""
    stated = {} if um_per_px is None else {"resolution": (1e4 / um_per_px,) * 2}
    unit = "NONE" if um_per_px is None else "CENTIMETER"
    tifffile.imwrite(path, pixels, tile=(64, 64), photometric="rgb", resolutionunit=unit, **stated)
    return path
