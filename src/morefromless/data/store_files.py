"""Read the files of a store and compare them with the facts recorded in `meta.json`.

All functions raise `DataError` if a file is missing or damaged.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless.data.arrays import open_npy
from morefromless.data.patch_hashes import first_damaged
from morefromless.data.store_meta import ArrayShape, FileFacts
from morefromless.documents import read_parquet
from morefromless.errors import DataError
from morefromless.files import file_hash

COLUMNS = ("id", "label", "split", "group", "um_per_px", "origin", "hash")
CORNER = ("x", "y")
"""Additional columns for patches of slides: top left corner in px of the slide's finest level."""


def read_table(path: Path) -> pd.DataFrame:
    """Read `patches.parquet`."""
    try:
        table = read_parquet(path / "patches.parquet")
    except (OSError, ValueError) as error:
        raise damaged_file(path, "patches.parquet") from error
    if tuple(table.columns) not in (COLUMNS, COLUMNS + CORNER):
        raise damaged_file(path, "patches.parquet")
    return table


def read_present(
    path: Path, absent: Mapping[str, Mapping[str, int]], count: int
) -> pd.DataFrame | None:
    """Read `present.parquet`; None if every patch has every array. `absent` counts the missing
    ones."""
    if not absent:
        return None
    try:
        present = read_parquet(path / "present.parquet")
    except (OSError, ValueError) as error:
        raise damaged_file(path, "present.parquet") from error
    lacking = {name: sum(by_split.values()) for name, by_split in absent.items()}
    if (
        len(present) != count
        or not (present.dtypes == "bool").all()
        or (~present).sum().to_dict() != lacking
    ):
        raise damaged_file(path, "present.parquet")
    return present


def read_array(path: Path, name: str, recorded: ArrayShape, count: int) -> npt.NDArray[Any]:
    """Memory-map an array of `count` patches that has the recorded shape."""
    try:
        array = open_npy(path / f"{name}.npy")
    except DataError as error:
        raise damaged_file(path, f"{name}.npy") from error
    image = array.dtype in (np.uint8, np.uint16) and array.ndim == 4
    vector = array.dtype == np.float32 and array.ndim == 2
    if not (image or vector) or len(array) != count:
        raise DataError(
            f"{path / name}.npy holds {array.dtype} {array.shape}, but the table has {count} "
            "patches; remove that folder and ingest again."
        )
    if (array.shape, str(array.dtype)) != (recorded.shape, recorded.dtype):
        raise damaged_file(path, f"{name}.npy")
    return array


def check_files(path: Path, recorded: Mapping[str, FileFacts], limit: int | None) -> None:
    """Compare the recorded sizes, and for files up to `limit` bytes also the hashes."""
    for name, facts in recorded.items():
        try:
            size = (path / name).stat().st_size
            intact = size == facts.bytes
            if intact and facts.blake2b and (limit is None or size <= limit):
                intact = file_hash(path / name) == facts.blake2b
        except OSError as error:
            raise damaged_file(path, name) from error
        if not intact:
            raise damaged_file(path, name)


def check_patches(
    path: Path,
    recorded: Mapping[str, FileFacts],
    table: pd.DataFrame,
    arrays: Mapping[str, npt.NDArray[Any]],
    present: pd.DataFrame,
    limit: int | None,
) -> None:
    """Compare the patches of arrays without a file hash with the hashes in the table.

    Skipped if these arrays have more than `limit` bytes in total.
    """
    unhashed = [name for name, facts in recorded.items() if facts.blake2b is None]
    if not unhashed or (limit and sum(recorded[name].bytes for name in unhashed) > limit):
        return
    row = first_damaged(arrays, table["hash"], present)
    if row is not None:
        raise DataError(
            f"{' or '.join(unhashed)} of {path} is damaged at patch {table['id'].iloc[row]}; "
            "remove that folder and ingest again."
        )


def non_array_files(recorded: Mapping[str, FileFacts]) -> dict[str, FileFacts]:
    """The files of a store that are not arrays."""
    return {name: facts for name, facts in recorded.items() if name.endswith(".parquet")}


def check_disjoint(table: pd.DataFrame) -> None:
    """Raise `DataError` if the same pixels are in two splits."""
    splits = table.groupby("hash")["split"].nunique()
    shared = table[table["hash"].isin(splits[splits > 1].index)]
    if len(shared):
        raise DataError(
            f"The same pixels are in two splits ({' and '.join(shared['id'].iloc[:2])}); "
            "ingest again: ingest rejects such copies."
        )


def content_hash(table: pd.DataFrame) -> str:
    """blake2b-128 over id, label, split, group and hash of every patch, in the table's order."""
    columns = table[["id", "label", "split", "group", "hash"]].astype(object)
    rows = columns.where(columns.notna(), None).to_numpy().tolist()
    return blake2b(json.dumps(rows).encode(), digest_size=16).hexdigest()


def damaged_file(path: Path, name: str) -> DataError:
    return DataError(f"{path / name} is missing or damaged; remove {path} and ingest again.")
