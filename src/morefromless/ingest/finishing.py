"""From decoded rows to a store: gaps closed, tables written."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import morefromless
from morefromless.data import atomic
from morefromless.data.nuclei import ARRAY, nuclei_table
from morefromless.data.store import COLUMNS, FORMAT, content_hash, file_hash, kinds
from morefromless.ingest.decoding import Shape
from morefromless.ingest.rows import Rows
from morefromless.ingest.selection import Selection
from morefromless.sources import Datasheet


def finish(
    work: Path,
    made: Selection,
    shape: Shape,
    datasheet: Datasheet,
    made_from: dict[str, Any],
) -> Path:
    """Make the store below `work` and return its path; killed at any moment, it can begin again.

    Rows that were set aside are filled with rows from the end, so only as many are copied as were
    set aside; a source row lies beyond the end of the store and stays as it is until the file has
    its final name.
    """
    folder = work / "store"
    with atomic.explaining(folder):
        folder.mkdir(exist_ok=True)
        for left in folder.glob(".*.partial"):  # by an attempt that was killed
            left.unlink()
    order, moves = _closed_up(made.kept)
    table = made.kept.loc[order, list(COLUMNS)].reset_index(drop=True)
    absent = made.kept.loc[order, "absent"].tolist()
    for name in shape.arrays:
        begun, done = work / f"{name}.rows", folder / f"{name}.npy"
        if begun.exists():
            rows = Rows(begun, shape.row(name))
            rows.move(moves)
            rows.flush()
            rows.close()
            begun.rename(done)
        rows = Rows(done, shape.row(name))
        rows.shorten(len(table))
        rows.close()
    with atomic.replacing(folder / "patches.parquet") as temporary:
        table.to_parquet(temporary, index=False)
    if made.absent:
        present = {name: [name not in names for names in absent] for name in made.absent}
        with atomic.replacing(folder / "present.parquet") as temporary:
            pd.DataFrame(present).to_parquet(temporary, index=False)
    if ARRAY in shape.arrays:
        labels = np.load(folder / f"{ARRAY}.npy", mmap_mode="r", allow_pickle=False)
        with atomic.replacing(folder / "nuclei.parquet") as temporary:
            nuclei_table(labels).to_parquet(temporary, index=False)
    aside = made.aside[["id", "origin", "reason"]]
    atomic.write_text(folder / "rejected.csv", aside.to_csv(index=False))
    meta = _meta(table, made, shape, datasheet, made_from)
    stored = [f for f in sorted(folder.iterdir()) if f.suffix in (".npy", ".parquet")]
    meta["files"] = {file.name: file_hash(file) for file in stored}
    atomic.write_json(folder / "meta.json", meta)
    return folder


def _closed_up(kept: pd.DataFrame) -> tuple[list[int], list[tuple[int, int]]]:
    """The listing's row for each row of the store, and the moves (from, to) that make it so."""
    rows = [int(row) for row in kept.index]
    own = {row for row in rows if row < len(rows)}
    tail = (row for row in rows if row >= len(rows))
    order = [row if row in own else next(tail) for row in range(len(rows))]
    return order, [(row, place) for place, row in enumerate(order) if row != place]


def _meta(
    table: pd.DataFrame,
    made: Selection,
    shape: Shape,
    datasheet: Datasheet,
    made_from: dict[str, Any],
) -> dict[str, Any]:
    labels = set(table["label"])
    known = [name for name in datasheet.classes if name in labels]
    scales = table["um_per_px"].unique()
    scheme = datasheet.scheme.to_json() if datasheet.scheme else None
    sheet = {**vars(datasheet), "classes": dict(datasheet.classes), "scheme": scheme}
    del sheet["optional"]  # `absent` says what came of it
    scale = float(scales[0]) if len(scales) == 1 and not pd.isna(scales[0]) else None
    return {
        "format": FORMAT,
        "morefromless": morefromless.__version__,
        "hash": content_hash(table),
        "datasheet": sheet,
        "classes": known + sorted(labels - set(known)),
        "arrays": {
            name: {
                "shape": [len(table), *shape.row(name).shape],
                "dtype": str(shape.row(name).base),
            }
            for name in shape.arrays
        },
        "scheme": scheme,
        "um_per_px": scale,
        "split_rule": made.rule,
        "groups_known": made.groups_known,
        "kept": {split: int(count) for split, count in table["split"].value_counts().items()},
        "set_aside": dict(kinds(made.aside["reason"])),
        "absent": made.absent,
        "caveats": made.caveats,
        "made_from": made_from,
    }
