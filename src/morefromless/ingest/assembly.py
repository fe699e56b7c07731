"""Assemble a store from its rows: reorder the arrays, write the tables and `meta.json`."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import morefromless
from morefromless import files
from morefromless.data.arrays import open_npy
from morefromless.data.nuclei import NUCLEI_ARRAY, nuclei_table
from morefromless.data.store_files import COLUMNS, CORNER, content_hash
from morefromless.data.store_meta import FORMAT
from morefromless.ingest.checks import check_images
from morefromless.ingest.decoding import count_kinds
from morefromless.ingest.rows import Rows
from morefromless.ingest.selection import Selection
from morefromless.ingest.shapes import Shape
from morefromless.sources import Datasheet

PERCENTILES = (0.1, 99.9)
"""Percentiles over the training patches that give the range of a channel."""
MAX_SAMPLE = 256
"""Maximum number of training patches for the percentiles."""


def assemble(
    folder: Path,
    rows: Rows,
    selection: Selection,
    datasheet: Datasheet,
    provenance: dict[str, Any],
) -> None:
    """Turn `folder`, which contains the arrays of `rows`, into a store.

    If it is killed, the same call can be repeated and gives the same store.
    """
    shape = rows.shape
    order = _order([int(row) for row in selection.accepted.index])
    accepted = selection.table.loc[order].reset_index(drop=True)
    placed = accepted["x"].notna().any()
    table = accepted[[*COLUMNS, *(CORNER if placed else ())]]
    with files.raising_storage_errors(folder):
        small = rows.finish(order)
        table.to_parquet(folder / "patches.parquet", index=False)
        if selection.absent:
            absent = accepted["absent"].tolist()
            present = {n: [n not in names for names in absent] for n in selection.absent}
            pd.DataFrame(present).to_parquet(folder / "present.parquet", index=False)
        if NUCLEI_ARRAY in shape.arrays:
            nuclei_table(open_npy(folder / f"{NUCLEI_ARRAY}.npy")).to_parquet(
                folder / "nuclei.parquet", index=False
            )
        selection.caveats += check_images(folder, table, small, shape, list(datasheet.scales))
        rejected = selection.rejected[["id", "origin", "reason"]]
        files.write_csv(folder / "rejected.csv", rejected)
        meta = _meta(folder, accepted, selection, shape, datasheet, provenance)
        data = [f for f in sorted(folder.iterdir()) if f.suffix in (".npy", ".parquet")]
        meta["files"] = {file.name: _facts(file) for file in data}
        for path in [*folder.glob("*.parquet"), *folder.glob("*.csv")]:
            files.sync(path)
    files.write_json(folder / "meta.json", meta)


def _order(accepted: list[int]) -> list[int]:
    """The row of the listing for each row of the store. The hash of the store depends on it.

    The last rows move to the places of rejected rows, so most rows keep their place.

    >>> _order([0, 2, 3, 5])
    [0, 5, 2, 3]
    """
    count, row_set = len(accepted), set(accepted)
    tail = (row for row in accepted if row >= count)
    return [row if row in row_set else next(tail) for row in range(count)]


def _facts(file: Path) -> dict[str, Any]:
    """Size and hash to verify a file. Arrays have no file hash: each patch has its own hash."""
    array = file.suffix == ".npy"
    return {"bytes": file.stat().st_size, "blake2b": None if array else files.file_hash(file)}


def _channels(path: Path, accepted: pd.DataFrame, names: tuple[str, ...]) -> dict[str, Any]:
    """Entries `channels` and `ranges` of an array in `meta.json`.

    Vectors have names of values. Images, except 8-bit RGB, have names and ranges of channels. Rows
    of patches without the array are zeros and are excluded from the range.
    """
    array = open_npy(path)
    if array.ndim == 2:
        return {"channels": names if len(names) == array.shape[1] else ()}
    if array.ndim != 4 or (array.shape[3] == 3 and array.dtype == np.uint8):
        return {}
    present = np.array([path.stem not in absent for absent in accepted["absent"]])
    train = present & (accepted["split"] == "train").to_numpy()
    rows = np.flatnonzero(next(mask for mask in (train, present, ~present) if mask.any()))
    sample = array[rows[:: -(-len(rows) // MAX_SAMPLE)]].reshape(-1, array.shape[3])
    low, high = np.percentile(sample, PERCENTILES, axis=0)
    ranges = [
        (float(np.floor(a)), float(max(np.ceil(b), np.floor(a) + 1)))
        for a, b in zip(low, high, strict=True)
    ]
    return {"channels": names if len(names) == array.shape[3] else (), "ranges": ranges}


def _meta(
    folder: Path,
    accepted: pd.DataFrame,
    selection: Selection,
    shape: Shape,
    datasheet: Datasheet,
    provenance: dict[str, Any],
) -> dict[str, Any]:
    labels = set(accepted["label"])
    known = [name for name in datasheet.classes if name in labels]
    scheme = datasheet.scheme.to_json() if datasheet.scheme else None
    sheet = {**vars(datasheet), "classes": dict(datasheet.classes), "scheme": scheme}
    for name in ("optional", "scales", "channels"):  # `absent` and `arrays` hold these facts
        del sheet[name]
    return {
        "format": FORMAT,
        "morefromless": morefromless.__version__,
        "hash": content_hash(accepted),
        "datasheet": sheet,
        "classes": known + sorted(labels - set(known)),
        "arrays": {
            name: {
                "shape": [len(accepted), *row.shape],
                "dtype": str(row.base),
                "um_per_px": datasheet.scales.get(name),
                **_channels(folder / f"{name}.npy", accepted, datasheet.channels.get(name, ())),
            }
            for name, row in ((name, shape.row(name)) for name in shape.arrays)
        },
        "scheme": scheme,
        "um_per_px": selection.um_per_px,
        "split_rule": selection.rule,
        "groups_known": selection.groups_known,
        "splits": {split: int(count) for split, count in accepted["split"].value_counts().items()},
        "rejected": dict(count_kinds(selection.rejected["reason"])),
        "absent": selection.absent,
        "omitted": selection.omitted,
        "caveats": selection.caveats,
        "provenance": provenance,
    }
