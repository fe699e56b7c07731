"""Small folders in the format of Space Ranger."""

import json
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from scipy import sparse

SCALE = 0.5
"""Pixels of the hires image per pixel of the full image."""


def write_space_ranger(
    folder: Path, seed: int, *, spots: int = 24, genes: int = 40, old: bool = False
) -> npt.NDArray[np.int64]:
    """Write a section and return its counts (spots, genes). The last spot is not in tissue."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.uniform(0.2, 9, genes), (spots, genes))
    barcodes = [f"{seed}-{spot:03}-1" for spot in range(spots)]
    (folder / "spatial").mkdir(parents=True)
    with h5py.File(folder / "filtered_feature_bc_matrix.h5", "w") as file:
        matrix = file.create_group("matrix")
        columns = sparse.csc_matrix(counts.T)
        for name in ("data", "indices", "indptr"):
            matrix[name] = getattr(columns, name)
        matrix["shape"] = np.array(columns.shape, np.int32)
        matrix["barcodes"] = np.array(barcodes, "S")
        names = ["TWICE", "TWICE", *(f"G{gene:02}" for gene in range(genes - 3)), "antibody"]
        matrix["features/id"] = np.array([f"ENSG{gene}" for gene in range(genes)], "S")
        matrix["features/name"] = np.array(names, "S")
        kinds = ["Gene Expression"] * (genes - 1) + ["Antibody Capture"]
        matrix["features/feature_type"] = np.array(kinds, "S")
    # Row and column of each spot.
    centres = [(60 + 60 * (spot // 6), 70 + 50 * (spot % 6)) for spot in range(spots)]
    inside = [int(spot < spots - 1) for spot in range(spots)]
    table = pd.DataFrame(
        {
            "barcode": barcodes,
            "in_tissue": inside,
            "array_row": 0,
            "array_col": range(spots),
            "pxl_row_in_fullres": [row for row, _ in centres],
            "pxl_col_in_fullres": [column for _, column in centres],
        }
    ).sample(frac=1, random_state=seed)  # in a different order than the matrix
    name = "tissue_positions_list.csv" if old else "tissue_positions.csv"
    table.to_csv(folder / "spatial" / name, index=False, header=not old)
    factors = {"tissue_hires_scalef": SCALE, "spot_diameter_fullres": 20.0}
    (folder / "spatial/scalefactors_json.json").write_text(json.dumps(factors))
    image = rng.integers(0, 256, (150, 200, 3), np.uint8)
    Image.fromarray(image).save(folder / "spatial/tissue_hires_image.png")
    regions = {"Barcode": barcodes, "region": [("tumour", "stroma")[s % 2] for s in range(spots)]}
    pd.DataFrame({**regions, "patient": f"P{seed // 2}"}).to_csv(folder / "mine.csv", index=False)
    clusters = folder / "analysis/clustering/gene_expression_graphclust"
    clusters.mkdir(parents=True)
    numbers = pd.DataFrame({"Barcode": barcodes, "Cluster": [1 + s % 3 for s in range(spots)]})
    numbers.to_csv(clusters / "clusters.csv", index=False)
    return counts
