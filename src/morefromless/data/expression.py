"""Gene expression per spot: counts as an h5ad file holds them."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from morefromless.data.h5ad import check_h5ad
from morefromless.errors import ConfigError, DataError

Matrix = Any
"""A scipy csr matrix (spots, genes) float64; its stubs and its oldest release disagree on [...]."""


@dataclass(frozen=True)
class Counts:
    """One section: every spot's counts of every gene, and what else is known of the spots."""

    file: str
    spots: tuple[str, ...]
    genes: tuple[str, ...]
    values: Matrix
    """(spots, genes) csr float64: whole numbers, none negative."""
    places: npt.NDArray[np.float64]
    """(spots, 2): x (column) and y (row) of the spots' centres, in px of the section's image."""
    table: pd.DataFrame
    """`obs`: a row per spot."""
    scale_factors: Mapping[str, float]
    """Of the images that `uns["spatial"]` names, hires and lowres: px per px of the full image."""
    image_shapes: Mapping[str, tuple[int, int]]
    """Height and width of those that it holds."""

    @cached_property
    def in_tissue(self) -> npt.NDArray[np.bool_]:
        """(spots,) False where a column `in_tissue` of the table is 0."""
        if "in_tissue" not in self.table:
            return np.ones(len(self.table), dtype=bool)
        words = self.table["in_tissue"].astype(str).str.strip().str.lower()
        return ~words.isin(["0", "0.0", "false"]).to_numpy(dtype=bool)


def read_counts(path: Path, layer: str | None = None) -> Counts:
    """The counts in `X`, or in a layer, of an h5ad file.

    Where `X` holds other numbers, such as normalised ones, those in `raw` are taken; `layer` may
    be `raw` too.

    Raises `DataError` where the file is damaged, or spots, genes, places or counts cannot be used;
    `ConfigError` where anndata is not installed.
    """
    data = _opened(path)
    factors, shapes = _scale_factors(data, path.name)
    return section_counts(data, path.name, _places(data, path.name), layer, factors, shapes)


def section_counts(
    data: Any,
    file: str,
    places: npt.NDArray[np.float64],
    layer: str | None,
    scale_factors: Mapping[str, float] = MappingProxyType({}),
    image_shapes: Mapping[str, tuple[int, int]] = MappingProxyType({}),
) -> Counts:
    """The counts of an AnnData of one section. Raises as `read_counts` does."""
    for what, index in (("spot", data.obs_names), ("gene", data.var_names)):
        if not len(index):
            raise DataError(f"{file} holds no {what}s; check how it was written.")
        if index.has_duplicates:
            twice = index[index.duplicated()][0]
            raise DataError(f"{file} names the {what} '{twice}' twice; make its {what}s unique.")
    spots = tuple(map(str, data.obs_names))
    lost = ~np.isfinite(places).all(axis=1)
    if lost.any():
        raise DataError(
            f"{file} does not say where spot {spots[int(lost.argmax())]} lies; mend its places, or "
            "leave that spot out."
        )
    genes, values = _values(data, file, layer, spots)
    return Counts(
        file=file,
        spots=spots,
        genes=genes,
        values=values,
        places=places,
        table=data.obs,
        scale_factors=scale_factors,
        image_shapes=image_shapes,
    )


def has_counts(values: Matrix) -> npt.NDArray[np.bool_]:
    """Which spots have a count of any gene: (spots,) bool.

    >>> has_counts(sparse.csr_matrix([[1.0, 0.0], [0.0, 0.0]])).tolist()
    [True, False]
    """
    return np.asarray(np.diff(values.indptr) > 0)


def _opened(path: Path) -> Any:
    try:
        import anndata
    except ImportError as error:
        raise ConfigError(
            f"Reading {path.name} takes anndata, which is not installed; install it with pip "
            "install 'morefromless[expression]'."
        ) from error
    try:
        check_h5ad(path)
        with warnings.catch_warnings():  # what matters of their content is checked here
            warnings.simplefilter("ignore")
            return anndata.read_h5ad(path)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # a reader may raise anything on a damaged file
        raise DataError(f"{path} is not a sound h5ad file; fetch or write it again.") from error


def _places(data: Any, file: str) -> npt.NDArray[np.float64]:
    if "spatial" not in data.obsm:
        raise DataError(f"{file} has no obsm['spatial']; put x, y in pixels of its image there.")
    try:
        places = np.asarray(data.obsm["spatial"], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{file} has words in obsm['spatial']; put x, y in pixels there."
        ) from error
    if places.shape != (len(data.obs_names), 2):
        raise DataError(f"{file} has obsm['spatial'] {places.shape}; two columns are x and y.")
    return places


def _scale_factors(data: Any, file: str) -> tuple[dict[str, float], dict[str, tuple[int, int]]]:
    """Factor and shape of the images of the one library that `uns["spatial"]` describes."""
    libraries = data.uns.get("spatial")
    if not isinstance(libraries, Mapping):
        return {}, {}
    described = [e for e in libraries.values() if isinstance(e, Mapping) and "scalefactors" in e]
    if len(described) != 1:  # of several, none is known to be this section's
        return {}, {}
    scales, images = described[0]["scalefactors"], described[0].get("images")
    factors, shapes = {}, {}
    for name in ("hires", "lowres"):
        if isinstance(scales, Mapping) and f"tissue_{name}_scalef" in scales:
            factors[name] = positive_factor(scales[f"tissue_{name}_scalef"], file, name)
        shape = np.shape(images.get(name, ())) if isinstance(images, Mapping) else ()
        if len(shape) in (2, 3):
            shapes[name] = shape[0], shape[1]
    return factors, shapes


def positive_factor(value: Any, file: str, name: str) -> float:
    """A scale factor of the image `name`. Raises `DataError` where it is none."""
    try:
        factor = float(value)
    except (TypeError, ValueError):
        factor = 0.0
    if not 0 < factor < np.inf:
        raise DataError(f"{file} has a scale factor of {name} that is no positive number; mend it.")
    return factor


def _values(
    data: Any, file: str, layer: str | None, spots: Sequence[str]
) -> tuple[tuple[str, ...], Matrix]:
    """Genes and their counts, which are whole and not negative."""
    genes = tuple(map(str, data.var_names))
    if layer is None:
        values, problem = whole_counts(data.X, file, "X", spots, genes)
        if problem is None:
            return genes, values
    elif layer in data.layers:
        values, problem = whole_counts(data.layers[layer], file, f"layer {layer}", spots, genes)
    elif layer != "raw" or data.raw is None:
        known = ", ".join([*map(str, data.layers), *["raw"] * (data.raw is not None)]) or "none"
        raise ConfigError(f"{file} has no layer '{layer}'; it has {known}.")
    if data.raw is not None and (layer is None or layer not in data.layers):
        genes = tuple(map(str, data.raw.var_names))
        if len(set(genes)) < len(genes):
            raise DataError(f"{file} names a gene of raw twice; make its genes unique.")
        values, problem = whole_counts(data.raw.X, file, "raw", spots, genes)
    if problem is not None:
        raise problem
    return genes, values


def whole_counts(
    matrix: Any, file: str, where: str, spots: Sequence[str], genes: Sequence[str]
) -> tuple[Matrix, DataError | None]:
    """A matrix as csr, and why it does not hold counts."""
    if matrix is None or matrix.dtype.kind not in "iufb":
        advice = "name where counts are with layer="
        return None, DataError(f"{file} has no numbers in {where}; {advice}.")
    values = sparse.csr_matrix(matrix, dtype=np.float64, copy=True)
    values.sum_duplicates()
    values.eliminate_zeros()
    for wrong, advice in (
        (~np.isfinite(values.data), "which is no number; mend that count"),
        (values.data < 0, "which is negative; give raw counts"),
        (
            values.data != np.rint(values.data),
            "and normalised values are no counts; name raw ones with layer=",
        ),
    ):
        if wrong.any():
            first = int(wrong.argmax())
            spot = int(np.searchsorted(values.indptr, first, side="right")) - 1
            return values, DataError(
                f"{file} counts {values.data[first]:g} of gene {genes[values.indices[first]]} in "
                f"spot {spots[spot]} ({where}), {advice}."
            )
    return values, None
