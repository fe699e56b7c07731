"""Write files of features: one function per file ending."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless import files
from morefromless.errors import ConfigError
from morefromless.inference.embed import Embedding


def write_embedding(embedding: Embedding, path: Path) -> None:
    """Write features atomically, in the format of the path's ending."""
    write = writer(path)
    with files.replacing(path) as temporary:
        write(embedding, temporary)


def writer(path: Path) -> Callable[[Embedding, Path], None]:
    """The function that writes this file ending. Raises `ConfigError` if it is not supported."""
    if path.suffix not in WRITERS:
        raise ConfigError(
            f"{path} does not end in {' or '.join(WRITERS)}; the ending selects the format."
        )
    return WRITERS[path.suffix]


def write_h5(embedding: Embedding, path: Path) -> None:
    """Write HDF5 in the layout of slide tools: `features` (N, width) float32 and `coords` (N, 2)
    int64, x and y in px of the slide's finest level, -1 without a slide; also `id` and `input`."""
    table = embedding.table
    with h5py.File(path, "w") as file:
        file["features"] = embedding.features
        file["coords"] = table[["x", "y"]].astype(float).fillna(-1).to_numpy().astype(np.int64)
        for name in ("id", "input"):
            file.create_dataset(name, data=table[name].tolist(), dtype=h5py.string_dtype())
        for item in (file, file["features"], file["coords"]):
            item.attrs.update(embedding.attributes)


def write_parquet(embedding: Embedding, path: Path) -> None:
    """Write one row per patch: the columns of the table, then `f0`, `f1` ..."""
    _wide_table(embedding.table, embedding.features).to_parquet(path, index=False)


def write_csv(embedding: Embedding, path: Path) -> None:
    """Write the same as `write_parquet` as text, for R and spreadsheets; about twice the size."""
    _wide_table(files.without_formulas(embedding.table), embedding.features).to_csv(
        path, index=False
    )


def _wide_table(table: pd.DataFrame, features: npt.NDArray[np.float32]) -> pd.DataFrame:
    names = [f"f{k}" for k in range(features.shape[1])]
    return pd.concat([table, pd.DataFrame(features, columns=names)], axis=1)


def write_npz(embedding: Embedding, path: Path) -> None:
    """Write arrays without pickles: `features`, and one array per column of the table."""
    table = embedding.table
    columns: dict[str, Any] = {
        name: table[name].astype(float).to_numpy()
        if name in ("x", "y")
        else table[name].fillna("").to_numpy(str)
        for name in map(str, table)
    }
    columns["features"] = embedding.features
    columns["attributes"] = np.array(json.dumps(embedding.attributes))
    with path.open("wb") as file:  # given a path, np.savez would append an ending
        np.savez(file, **columns)


def write_h5ad(embedding: Embedding, path: Path) -> None:
    """Write AnnData: features in `X`, the table in `obs`, x and y in `obsm["spatial"]`."""
    try:
        import anndata
    except ImportError as error:
        raise ConfigError(
            "A .h5ad file needs the extra expression; install it: "
            "pip install 'morefromless[expression]'."
        ) from error
    table = embedding.table.set_index("id")
    coordinates = table[["x", "y"]].astype(float).to_numpy()
    observations = table.drop(columns=["x", "y"]).dropna(axis=1, how="all").astype("string")
    anndata.AnnData(
        embedding.features,
        obs=observations.astype("category"),  # unknown values are missing, not a category
        obsm={} if np.isnan(coordinates).all() else {"spatial": coordinates},
        uns=dict(embedding.attributes),
    ).write_h5ad(path)


WRITERS: dict[str, Callable[[Embedding, Path], None]] = {
    ".h5": write_h5,
    ".parquet": write_parquet,
    ".csv": write_csv,
    ".h5ad": write_h5ad,
    ".npz": write_npz,
}
