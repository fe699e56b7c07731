"""Gene expression per spot: read counts from h5ad files."""

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
from morefromless.errors import ConfigError, DataError, raising_data_errors

Matrix = Any
"""A scipy csr matrix (spots, genes) float64. It is `Any` because the type stubs and the oldest
supported SciPy disagree on [...]."""


@dataclass(frozen=True)
class Counts:
    """One section: counts of every gene in every spot, and the metadata of the spots."""

    file: str
    spots: tuple[str, ...]
    genes: tuple[str, ...]
    values: Matrix
    """(spots, genes) csr float64: non-negative integers."""
    coordinates: npt.NDArray[np.float64]
    """(spots, 2): x (column) and y (row) of the spots' centres, in px of the section's image."""
    table: pd.DataFrame
    """`obs`: one row per spot."""
    scale_factors: Mapping[str, float]
    """Px per px of the full image, for the images hires and lowres in `uns["spatial"]`."""
    image_shapes: Mapping[str, tuple[int, int]]
    """Height and width of the images in the file."""

    @cached_property
    def in_tissue(self) -> npt.NDArray[np.bool_]:
        """(spots,) bool; false if the table has a column `in_tissue` and it is 0 or false."""
        if "in_tissue" not in self.table:
            return np.ones(len(self.table), dtype=bool)
        words = self.table["in_tissue"].astype(str).str.strip().str.lower()
        return ~words.isin(["0", "0.0", "false"]).to_numpy(dtype=bool)


def read_counts(path: Path, layer: str | None = None) -> Counts:
    """Read the counts in `X`, or in a layer, of an h5ad file.

    If `X` does not hold counts, for example normalised values, `raw` is used. `layer` may also be
    `raw`.

    Raises `DataError` if the file is damaged, or its spots, genes, coordinates or counts are
    invalid; `ConfigError` if there is no such layer or anndata is not installed.
    """
    data = _read_h5ad(path)
    factors, shapes = _scale_factors(data, path.name)
    return section_counts(data, path.name, _coordinates(data, path.name), layer, factors, shapes)


def section_counts(
    data: Any,
    file: str,
    coordinates: npt.NDArray[np.float64],
    layer: str | None,
    scale_factors: Mapping[str, float] = MappingProxyType({}),
    image_shapes: Mapping[str, tuple[int, int]] = MappingProxyType({}),
) -> Counts:
    """The counts of one section from its AnnData. Raises the errors of `read_counts`."""
    for what, index in (("spot", data.obs_names), ("gene", data.var_names)):
        if not len(index):
            raise DataError(f"{file} has no {what}s; check how it was written.")
        if index.has_duplicates:
            duplicate = index[index.duplicated()][0]
            raise DataError(
                f"{file} lists the {what} '{duplicate}' twice; make its {what}s unique."
            )
    spots = tuple(map(str, data.obs_names))
    missing = ~np.isfinite(coordinates).all(axis=1)
    if missing.any():
        raise DataError(
            f"{file} has no coordinates for spot {spots[int(missing.argmax())]}; add them, or "
            "remove the spot."
        )
    genes, values = _values(data, file, layer, spots)
    return Counts(
        file=file,
        spots=spots,
        genes=genes,
        values=values,
        coordinates=coordinates,
        table=data.obs,
        scale_factors=scale_factors,
        image_shapes=image_shapes,
    )


def has_counts(values: Matrix) -> npt.NDArray[np.bool_]:
    """Whether each spot has a count of any gene: (spots,) bool.

    >>> has_counts(sparse.csr_matrix([[1.0, 0.0], [0.0, 0.0]])).tolist()
    [True, False]
    """
    return np.asarray(np.diff(values.indptr) > 0)


def _read_h5ad(path: Path) -> Any:
    try:
        import anndata
    except ImportError as error:
        raise ConfigError(
            f"Reading {path.name} needs anndata, which is not installed; install it with pip "
            "install 'morefromless[expression]'."
        ) from error
    with raising_data_errors(f"{path} is not a valid h5ad file; download or write it again."):
        check_h5ad(path)
        with warnings.catch_warnings(action="ignore"):  # the content is validated in this module
            return anndata.read_h5ad(path)


def _coordinates(data: Any, file: str) -> npt.NDArray[np.float64]:
    if "spatial" not in data.obsm:
        raise DataError(f"{file} has no obsm['spatial']; store x, y in pixels of its image there.")
    try:
        coordinates = np.asarray(data.obsm["spatial"], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{file} has non-numbers in obsm['spatial']; store x, y in pixels there."
        ) from error
    if coordinates.shape != (len(data.obs_names), 2):
        raise DataError(
            f"{file} has obsm['spatial'] of shape {coordinates.shape}; store two columns, x and y."
        )
    return coordinates


def _scale_factors(data: Any, file: str) -> tuple[dict[str, float], dict[str, tuple[int, int]]]:
    """Scale factors and shapes of the images of the single library in `uns["spatial"]`."""
    libraries = data.uns.get("spatial")
    if not isinstance(libraries, Mapping):
        return {}, {}
    described = [e for e in libraries.values() if isinstance(e, Mapping) and "scalefactors" in e]
    if len(described) != 1:  # with several, it is unknown which one belongs to this section
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
    """Parse the scale factor of the image `name`. Raises `DataError` if it is invalid."""
    try:
        factor = float(value)
    except (TypeError, ValueError):
        factor = 0.0
    if not 0 < factor < np.inf:
        raise DataError(
            f"{file} has a scale factor of {name} that is not a positive number; correct it."
        )
    return factor


def _values(
    data: Any, file: str, layer: str | None, spots: Sequence[str]
) -> tuple[tuple[str, ...], Matrix]:
    """Genes and their counts, which are non-negative integers."""
    genes = tuple(map(str, data.var_names))
    if layer is None:
        values, problem = to_counts(data.X, file, "X", spots, genes)
        if problem is None:
            return genes, values
    elif layer in data.layers:
        values, problem = to_counts(data.layers[layer], file, f"layer {layer}", spots, genes)
    elif layer != "raw" or data.raw is None:
        layers = ", ".join([*map(str, data.layers), *["raw"] * (data.raw is not None)]) or "none"
        raise ConfigError(f"{file} has no layer '{layer}'; it has {layers}.")
    if data.raw is not None and (layer is None or layer not in data.layers):
        genes = tuple(map(str, data.raw.var_names))
        if len(set(genes)) < len(genes):
            raise DataError(f"{file} lists a gene in raw twice; make its genes unique.")
        values, problem = to_counts(data.raw.X, file, "raw", spots, genes)
    if problem is not None:
        raise problem
    return genes, values


def to_counts(
    matrix: Any, file: str, where: str, spots: Sequence[str], genes: Sequence[str]
) -> tuple[Matrix, DataError | None]:
    """A matrix as csr, and an error if its values are not counts."""
    if matrix is None or matrix.dtype.kind not in "iufb":
        advice = "set layer= to the layer with counts"
        return None, DataError(f"{file} has no numbers in {where}; {advice}.")
    values = sparse.csr_matrix(matrix, dtype=np.float64, copy=True)
    values.sum_duplicates()
    values.eliminate_zeros()
    for invalid, advice in (
        (~np.isfinite(values.data), "which is not finite; correct this count"),
        (values.data < 0, "which is negative; give raw counts"),
        (
            values.data != np.rint(values.data),
            "which is not an integer, as in normalised values; set layer= to the raw counts",
        ),
    ):
        if invalid.any():
            first = int(invalid.argmax())
            spot = int(np.searchsorted(values.indptr, first, side="right")) - 1
            return values, DataError(
                f"{file} has a count of {values.data[first]:g} for gene "
                f"{genes[values.indices[first]]} in spot {spots[spot]} ({where}), {advice}."
            )
    return values, None
