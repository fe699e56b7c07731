"""Reading and normalising counts, and selecting genes, against a naive loop in float64."""

import math
import sys
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from morefromless.data.expression import read_counts
from morefromless.data.genes import common_genes, log_normalise, most_variable
from morefromless.errors import ConfigError, DataError

COUNTS = np.random.default_rng(0).poisson(2, (5, 8)).astype(np.float32)
SPOTS = [f"{row}x1" for row in range(5)]
GENES = list("HGFEDCBA")


def write(path: Path, counts: Any = COUNTS, genes: Any = GENES, spots: Any = SPOTS) -> Path:
    table = pd.DataFrame({"cluster": ["0"] * len(spots)}, index=spots)
    data = anndata.AnnData(counts, obs=table, var=pd.DataFrame(index=genes))
    data.obsm["spatial"] = np.arange(2.0 * len(spots)).reshape(-1, 2)
    data.write_h5ad(path)
    return path


def naive_log_normalise(counts: np.ndarray) -> np.ndarray:
    normalised = np.zeros(counts.shape)
    for spot in range(counts.shape[0]):
        total = sum(float(n) for n in counts[spot])
        for gene in range(counts.shape[1]):
            if total:
                normalised[spot, gene] = math.log(1 + 10_000 * float(counts[spot, gene]) / total)
    return normalised


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_dense_and_sparse_counts_are_read(tmp_path: Path, kind: Any) -> None:
    result = read_counts(write(tmp_path / "a.h5ad", kind(COUNTS)))
    np.testing.assert_array_equal(result.values.toarray(), COUNTS)
    assert (result.spots, result.genes) == (tuple(SPOTS), tuple(GENES))
    np.testing.assert_array_equal(result.coordinates, np.arange(10.0).reshape(5, 2))
    assert result.table["cluster"].tolist() == ["0"] * 5


def test_normalising_is_per_spot_and_an_empty_spot_stays_zero() -> None:
    counts = COUNTS.astype(float)
    counts[3] = 0
    values = log_normalise(sparse.csr_matrix(counts))
    np.testing.assert_allclose(values.toarray(), naive_log_normalise(counts), rtol=1e-12)
    changed = counts.copy()
    changed[1:] *= 7
    changed[2, :4] += 100
    changed_values = log_normalise(sparse.csr_matrix(changed)).toarray()
    # Values are independent of other spots and of depth.
    np.testing.assert_array_equal(changed_values[0], values.toarray()[0])
    np.testing.assert_allclose(changed_values[1], values.toarray()[1], rtol=1e-12)


def test_most_variable_genes() -> None:
    counts = np.random.default_rng(1).poisson(1, (40, 8)).astype(float)
    variance = [float(np.var(column)) for column in naive_log_normalise(counts).T]
    expected = sorted(sorted(GENES, key=lambda g: -variance[GENES.index(g)])[:3])
    values = log_normalise(sparse.csr_matrix(counts))
    assert most_variable([values[:15], values[15:]], GENES, 3) == tuple(expected)
    equal_variance = sparse.csr_matrix(np.tile([[1.0], [3.0]], (1, 8)))
    assert most_variable([equal_variance], GENES, 2) == ("A", "B")


def test_common_genes() -> None:
    sections = {"a": "DCBA", "b": "ABCE", "c": "XYZA"}
    assert common_genes(sections, 1) == ["A"]
    with pytest.raises(DataError, match="all 3 share 1, fewer than genes=2, and c has the fewest"):
        common_genes(sections, 2)
    with pytest.raises(ConfigError, match="genes=5 is more than the 4 genes of section a"):
        common_genes(sections, 5)


def _counts_with(value: float, row: int = 2, gene: int = 1) -> np.ndarray:
    counts = COUNTS.copy()
    counts[row, gene] = value
    return counts


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "count of nan for gene G in spot 2x1 .X., which is not finite"),
        (np.inf, "count of inf for gene G in spot 2x1"),
        (-1, "count of -1 for gene G in spot 2x1 .X., which is negative"),
        (0.5, "count of 0.5 for gene G in spot 2x1 .X., which is not an integer"),
    ],
)
def test_values_that_are_not_counts_are_refused(
    tmp_path: Path, kind: Any, value: float, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_counts(write(tmp_path / "a.h5ad", kind(_counts_with(value))))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_unusable_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    with pytest.raises(DataError, match="There is no "):
        read_counts(path)
    with pytest.raises(DataError, match="lists the gene 'A' twice"):
        read_counts(write(path, genes=[*"ABCDEFG", "A"]))
    with pytest.raises(DataError, match="lists the spot '0x1' twice"):
        read_counts(write(path, spots=["0x1", *SPOTS[:-1]]))
    with pytest.raises(DataError, match="has no spots"):
        read_counts(write(path, COUNTS[:0], spots=[]))
    content = write(path).read_bytes()
    for damaged in (b"", b"no table", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="is not a valid h5ad file"):
            read_counts(path)


def test_layers_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5ad", np.log1p(COUNTS))
    data = anndata.read_h5ad(path)
    data.layers["raw"] = COUNTS
    data.write_h5ad(path)
    np.testing.assert_array_equal(read_counts(path, "raw").values.toarray(), COUNTS)
    with pytest.raises(DataError, match="layer="):
        read_counts(path)
    with pytest.raises(ConfigError, match="no layer 'counts'; it has raw"):
        read_counts(path, "counts")
    del data.X
    data.write_h5ad(path)
    with pytest.raises(DataError, match="no numbers in X"):
        read_counts(path)


def test_coordinates_are_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5ad")
    data = anndata.read_h5ad(path)
    for coordinates, message in (
        (np.ones((5, 3)), r"obsm\['spatial'\] of shape \(5, 3\); store two columns"),
        (np.array([[1, 1]] * 4 + [[1, np.nan]]), "has no coordinates for spot 4x1"),
        (None, r"no obsm\['spatial'\]"),
    ):
        if coordinates is None:
            del data.obsm["spatial"]
        else:
            data.obsm["spatial"] = coordinates
        data.write_h5ad(path)
        with pytest.raises(DataError, match=message):
            read_counts(path)


def test_without_anndata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.h5ad")
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(ConfigError, match=r"pip install 'morefromless\[expression\]'"):
        read_counts(path)
