"""Files that would crash the process are rejected before native code reads them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pytest
from scipy import sparse

from morefromless.data.h5ad import check_h5ad
from morefromless.errors import DataError


@pytest.fixture(params=[sparse.csr_matrix, sparse.csc_matrix])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    counts = request.param(np.random.default_rng(0).poisson(1, (6, 9)).astype(np.float32))
    anndata.AnnData(counts).write_h5ad(tmp_path / "a.h5ad")
    return tmp_path / "a.h5ad"


def assign(name: str, index: int, value: int) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        file[name][index] = value

    return change


def claim(file: Any) -> None:
    file.create_dataset("uns/large", (2**40,), "u1", chunks=(2**20,), compression="gzip")


def link(file: Any) -> None:
    file["uns/elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")


def shorten(file: Any) -> None:
    values = file["X/indices"][:-1]
    del file["X/indices"]
    file["X/indices"] = values


def test_valid_file_passes(path: Path) -> None:
    check_h5ad(path)


@pytest.mark.parametrize(
    "change",
    [
        assign("X/indices", 0, 10**9),
        assign("X/indices", 3, -1),
        assign("X/indptr", 0, 1),
        assign("X/indptr", 2, 10**9),
        assign("X/indptr", -1, 10**9),
        claim,
        link,
        shorten,
    ],
)
def test_inconsistent_files_are_refused(path: Path, change: Callable[[Any], None]) -> None:
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(DataError, match="write it again"):
        check_h5ad(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder"):
        check_h5ad(tmp_path)
    with pytest.raises(DataError, match="There is no"):
        check_h5ad(tmp_path / "a.h5ad")
