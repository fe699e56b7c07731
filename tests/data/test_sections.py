"""Positions of the patches of a section, and their labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import sparse

from morefromless.data.expression import Counts
from morefromless.data.sections import patch_corners, read_column, read_section_image, scale_factor
from morefromless.errors import ConfigError, DataError

PLACES = np.array([[10.0, 20.0], [30.0, 40.0], [95.0, 40.0]])


def counts(in_tissue: tuple[bool, ...] = (True,) * 3, factor: float = 0.5) -> Counts:
    return Counts(
        file="A.h5ad",
        spots=("a", "b", "c"),
        genes=("G",),
        values=sparse.csr_matrix(np.ones((3, 1))),
        coordinates=PLACES,
        table=pd.DataFrame(
            {"kind": [1.0, None, 2.0], "list": [["a"], "b", "c"], "in_tissue": in_tissue}
        ),
        scale_factors={"hires": factor},
        image_shapes={"hires": (60, 100)},
    )


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.new("RGB", (100, 60), "red").save(tmp_path / "A.png")
    return tmp_path / "A.png"


def test_corners_of_patches(image: Path) -> None:
    corners, outside = patch_corners(counts(), 16, image)
    assert corners.tolist() == [[2, 12], [22, 32], [87, 32]]
    assert outside.tolist() == [False, False, True]
    halved, outside = patch_corners(counts(), 16, image, factor=0.5)
    assert halved.tolist() == [[-3, 2], [7, 12], [40, 12]]
    assert outside.tolist() == [True, False, False]
    assert read_section_image(image).shape == (60, 100, 3)


def test_spots_outside_tissue_are_ignored(image: Path) -> None:
    with pytest.raises(DataError, match=r"only 0|no patch"):
        patch_corners(counts(), 16, image, factor=9)
    patch_corners(counts((True, False, False)), 16, image, factor=1.4)
    with pytest.raises(DataError, match="only 1 of 3 patches"):
        patch_corners(counts((False, True, True)), 16, image, factor=2)


def test_scale_factor_depends_on_the_image(image: Path, tmp_path: Path) -> None:
    assert scale_factor(counts(), image) == 0.5  # as large as the hires image
    assert scale_factor(counts(), image, "fullres") == 1
    Image.new("RGB", (80, 60)).save(tmp_path / "B.png")
    assert scale_factor(counts(), tmp_path / "B.png") == 1
    assert scale_factor(counts(), tmp_path / "B.png", "hires") == 0.5
    with pytest.raises(ConfigError, match="only for fullres, hires"):
        scale_factor(counts(), image, "lowres")


def test_columns_are_read() -> None:
    table = counts().table
    assert read_column(table, "A.h5ad", "kind", "label") == ["1", "", "2"]
    with pytest.raises(DataError, match="a list in obs column list"):
        read_column(table, "A.h5ad", "list", "label")
    with pytest.raises(DataError, match=r"no obs column x \(it has kind, list"):
        read_column(table, "A.h5ad", "x", "label")
