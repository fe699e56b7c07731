"""Outputs of Space Ranger (10x Genomics Visium): counts, coordinates and clusters of one section.

filtered_feature_bc_matrix.h5            counts, genes by spots
spatial/tissue_positions.csv             coordinates in px of the full image, and whether in tissue;
                                         before version 2 tissue_positions_list.csv, without header
spatial/scalefactors_json.json           px of the hires image per px of the full one
spatial/tissue_hires_image.png           the downscaled image
analysis/clustering/*graphclust/clusters.csv    column `cluster`, if the file exists
*.csv                                    your own columns, as Loupe Browser exports them: the
                                         first one is Barcode
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from morefromless.data.expression import Counts, positive_factor, to_counts
from morefromless.data.h5ad import check_h5ad
from morefromless.data.images import image_shape
from morefromless.documents import parse_foreign_json
from morefromless.errors import DataError, UnreadablePatch, raising_data_errors

MATRIX = "filtered_feature_bc_matrix.h5"
HIRES_IMAGE = "spatial/tissue_hires_image.png"
POSITIONS = (
    "barcode",
    "in_tissue",
    "array_row",
    "array_col",
    "pxl_row_in_fullres",
    "pxl_col_in_fullres",
)


def find_outputs(folder: Path) -> Path | None:
    """The folder of the outputs: the folder itself or its `outs`; None if it has no outputs."""
    return next((f for f in (folder, folder / "outs") if (f / MATRIX).is_file()), None)


def read_space_ranger(folder: Path) -> Counts:
    """Read the counts of one section. Raises `DataError` if a file is missing or damaged."""
    name = folder.parent.name if folder.name == "outs" else folder.name
    spots, genes, matrix = _matrix(folder / MATRIX)
    values, problem = to_counts(matrix, name, MATRIX, spots, genes)
    if problem is not None:
        raise problem
    table = _positions(folder / "spatial", spots)
    for column, cells in _columns(folder):
        table[column] = cells.reindex(table.index)
    factors = _factors(folder / "spatial/scalefactors_json.json")
    try:
        shapes = {"hires": image_shape(folder / HIRES_IMAGE)}
    except UnreadablePatch:  # there may be a full image instead
        shapes = {}
    return Counts(
        file=name,
        spots=spots,
        genes=genes,
        values=values,
        coordinates=table[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(np.float64),
        table=table,
        scale_factors=factors,
        image_shapes=shapes,
    )


def _matrix(path: Path) -> tuple[tuple[str, ...], tuple[str, ...], Any]:
    """Spots, genes and their counts (spots, genes); genes with the same name get their id added."""
    with raising_data_errors(f"{path} is not a valid file of Space Ranger; download it again."):
        check_h5ad(path)
        with h5py.File(path, "r") as file:
            group = file["matrix"]
            spots, ids, names, kinds = (
                tuple(text.decode() for text in group[key][:])
                for key in ("barcodes", "features/id", "features/name", "features/feature_type")
            )
            parts = (group["data"][:], group["indices"][:], group["indptr"][:])
            matrix = sparse.csc_matrix(parts, shape=tuple(group["shape"][:])).T.tocsr()
    if matrix.shape != (len(spots), len(names)) or not matrix.shape[0]:
        raise DataError(
            f"The matrix of {path} does not match its lists of spots and genes; download it again."
        )
    unique = pd.Series(names).duplicated(keep=False)
    genes = [f"{n} {i}" if twice else n for n, i, twice in zip(names, ids, unique, strict=True)]
    gene_rows = [row for row, kind in enumerate(kinds) if kind == "Gene Expression"]
    return spots, tuple(genes[row] for row in gene_rows), matrix[:, gene_rows]


def _positions(folder: Path, spots: tuple[str, ...]) -> pd.DataFrame:
    """One row per spot, in the order of `spots`."""
    path = folder / "tissue_positions.csv"
    path = path if path.is_file() else folder / "tissue_positions_list.csv"
    try:
        table = pd.read_csv(path, header=None, names=list(POSITIONS), dtype=str)
        table = table[table["barcode"] != "barcode"].set_index("barcode")  # without its header
        coordinates = table[[*POSITIONS[4:]]].astype(np.float64)
        placed = table.assign(**coordinates).loc[list(spots)]
    except FileNotFoundError as error:
        raise DataError(
            f"There is no {folder}/tissue_positions.csv; download the folder again."
        ) from error
    except KeyError as error:
        raise DataError(
            f"{path} does not have all spots of {MATRIX}; give both files of the same section."
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged; download it again.") from error
    if len(placed) != len(spots) or not np.isfinite(placed[[*POSITIONS[4:]]].to_numpy()).all():
        raise DataError(f"{path} lists a spot twice, or without coordinates; download it again.")
    return placed


def _columns(folder: Path) -> Iterator[tuple[str, "pd.Series[str]"]]:
    """Additional columns by spot: clusters, and columns that the user added."""
    clusters = sorted(folder.glob("analysis/clustering/*graphclust/clusters.csv"))[:1]
    for path in [*clusters, *sorted(folder.glob("*.csv"))]:
        try:
            table = pd.read_csv(path, dtype=str)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not a table in UTF-8; correct it, or move it.") from error
        if table.columns[0] != "Barcode":
            continue
        table = table.set_index("Barcode")
        if not table.index.is_unique:
            twice = table.index[table.index.duplicated()][0]
            raise DataError(f"{path} lists the spot {twice} twice; keep one.")
        for column in table.columns:
            yield column if path not in clusters else "cluster", table[column]


def _factors(path: Path) -> dict[str, float]:
    try:
        factors = dict(parse_foreign_json(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} is missing or damaged; download the folder again.") from error
    return {
        name: positive_factor(factors[f"tissue_{name}_scalef"], path.name, name)
        for name in ("hires", "lowres")
        if f"tissue_{name}_scalef" in factors
    }
