"""Cells of a table of pairs and the views that they name: image files, or rows of array files."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless.data.arrays import open_npy
from morefromless.data.channels import channels_shape, read_channels
from morefromless.data.images import SUFFIXES
from morefromless.data.labels import cell_text
from morefromless.documents import read_parquet
from morefromless.errors import DataError, UnreadablePatch, near_names

TABLES = (".csv", ".parquet")
REFERENCE = re.compile(r"(.+?\.(?:npy|csv|parquet))#(.+)", re.IGNORECASE)
"""A cell that names one row of a file: FILE#ROW."""
IMAGES = ".png, .jpg, .tif, .npy"
SEPARATORS = {";": "semicolons", "\t": "tabs"}

Column: TypeAlias = dict[int, str]
"""Row number -> cell. Rows are counted as in a spreadsheet: the header is row 1. "" means empty."""
Table: TypeAlias = dict[str, Column]


@dataclass(frozen=True)
class File:
    """A file of many views: images (N, H, W, C) uint8 or uint16, or vectors (N, length)."""

    values: npt.NDArray[Any]
    rows: Mapping[str, int] | None = None
    """Row name -> index, or None if rows are numbered."""
    names: tuple[str, ...] | None = None
    """Names of the values of a vector, or None if values are numbered."""


@dataclass(frozen=True)
class View:
    """The view that a cell names: an image file, or one row of a file of many views."""

    path: Path
    file: File | None = None
    position: int = 0

    @property
    def kind(self) -> str:
        if self.file is None or self.file.values.ndim == 4:
            return "images"
        return f"vectors of {self.file.values.shape[1]} values"

    @property
    def names(self) -> tuple[str, ...] | None:
        return self.file.names if self.file else None

    def read(self) -> npt.NDArray[Any]:
        if self.file is None:
            return read_channels(self.path)
        values = np.array(self.file.values[self.position])
        if values.ndim == 3:
            return values
        with np.errstate(over="ignore"):  # values too large for float32 are rejected below
            vector = values.astype(np.float32)
        if not np.isfinite(vector).all():
            worst = int(np.argmin(np.isfinite(vector)))
            name = self.names[worst] if self.names else worst
            raise UnreadablePatch(f"not finite: {self.path.name} has {values[worst]} for {name}")
        return vector

    def shape(self) -> tuple[int, int]:
        if self.file is None:
            return channels_shape(self.path)
        return self.file.values.shape[1], self.file.values.shape[2]


def parse_cell(cell: str) -> tuple[str, str | None] | None:
    """Split a cell into file and row. The row is None for an image file.

    Returns None if the cell does not name a view.

    >>> parse_cell("he/1.png"), parse_cell("rna.npy#7"), parse_cell("TUM")
    (('he/1.png', None), ('rna.npy', '7'), None)
    """
    if cell.lower().endswith((*SUFFIXES, ".npy")):
        return cell, None
    reference = REFERENCE.fullmatch(cell)
    return (reference[1], reference[2]) if reference else None


def read_cells(path: Path) -> Table:
    """Read a table as text, without empty rows and without columns that have no name."""
    if path.suffix.lower() not in TABLES:
        raise DataError(f"{path} is not a table of pairs; save it as {' or '.join(TABLES)}.")
    frame = _read_table(
        path,
        separators=",;\t",
        header=None,
        dtype=str,
        keep_default_na=False,
        skip_blank_lines=False,
        skipinitialspace=True,
    )
    lines = frame.to_numpy(dtype=object).tolist()
    header = lines.pop(0) if path.suffix.lower() == ".csv" else frame.columns
    names = [cell_text(name) for name in header]
    duplicates = [name for name, count in Counter(names).items() if name and count > 1]
    if duplicates:
        raise DataError(f"{path.name} has two columns called {duplicates[0]}; rename one.")
    rows = {row: [cell_text(cell) for cell in line] for row, line in enumerate(lines, start=2)}
    rows = {row: cells for row, cells in rows.items() if any(cells)}
    if not rows:
        raise DataError(f"{path.name} has a header but no rows; add one row per patch.")
    columns = [
        {row: cells[position] for row, cells in rows.items()} for position in range(len(names))
    ]
    for name, column in zip(names, columns, strict=True):
        if not name and any(map(parse_cell, column.values())):
            raise DataError(
                f"{path.name} has views in a column without a name; add the name in row 1."
            )
    return {name: column for name, column in zip(names, columns, strict=True) if name}


def open_rows(path: Path) -> File:
    """Open a file of many views. The result is thread-safe. Raises `DataError`."""
    if path.suffix.lower() != ".npy":
        return _vectors(path)
    values = open_npy(path)
    images = values.ndim == 4 and values.dtype in (np.uint8, np.uint16)
    if not images and not (values.ndim == 2 and values.shape[1] and values.dtype.kind in "iuf"):
        raise DataError(
            f"{path.name} holds {values.dtype} {values.shape}; save it as images (N, H, W, C) "
            "uint8 or uint16, or as vectors (N, length)."
        )
    return File(values)


def _vectors(path: Path) -> File:
    frame = _read_table(path, converters={0: str.strip})
    rows, numbers = frame.iloc[:, 0].map(cell_text), frame.iloc[:, 1:]
    if rows.duplicated().any():
        raise DataError(
            f"{path.name} has two rows named '{rows[rows.duplicated()].iloc[0]}'; rename one."
        )
    if numbers.empty:
        raise DataError(
            f"{path.name} has no numbers; add columns of numbers after the first column."
        )
    for name, column in numbers.items():
        if column.dtype.kind not in "iuf":
            read = pd.to_numeric(column.astype(str), errors="coerce")
            text_rows = rows[column.notna() & ~np.isfinite(read)].tolist()
            where = f"column {name}" + (f", row {text_rows[0]}" if text_rows else "")
            raise DataError(
                f"{path.name} has text in {where}; every column after the first must hold numbers."
            )
    with np.errstate(over="ignore"):  # values too large for float32 are rejected in `View.read`
        values = numbers.to_numpy(np.float32, na_value=np.nan)
    names = tuple(map(str, numbers.columns))
    return File(values, {name: position for position, name in enumerate(rows)}, names)


def row_index(path: Path, file: File, row: str) -> int:
    if file.rows is None:
        if not (row.isascii() and row.isdigit()) or int(row) >= len(file.values):
            raise DataError(
                f"{path.name} has no row {row}; it has {len(file.values)} rows, counted from 0"
            )
        return int(row)
    if row not in file.rows:
        number = row.partition(".")[0].lstrip("0")  # spreadsheets drop leading zeros
        near = [number] if number in file.rows else near_names(row, file.rows)
        hint = f"it has '{near[0]}'." if near else "row names are in its first column."
        raise DataError(f"{path.name} has no row '{row}'; {hint}")
    return file.rows[row]


def _read_table(path: Path, separators: str = ",", **csv: Any) -> pd.DataFrame:
    """Read a table with pandas. `csv` are options of `pd.read_csv`.

    The separator of a CSV file is the one of `separators` that is most frequent in its header.
    Raises `DataError`.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}; check the path.")
    try:
        if path.suffix.lower() == ".parquet":
            whole = read_parquet(path)
            return whole if isinstance(whole.index, pd.RangeIndex) else whole.reset_index()
        with path.open(encoding="utf-8") as file:
            header = file.readline()
        for mark, word in SEPARATORS.items():
            if mark in header and not any(known in header for known in separators):
                raise DataError(f"{path.name} is separated by {word}; save it with commas instead.")
        frame = pd.read_csv(path, sep=max(separators, key=header.count), **csv)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not encoded in UTF-8; save it as CSV UTF-8.") from error
    except (OSError, ValueError) as error:
        what = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        raise DataError(f"{path.name} is not a valid table ({what}); fix the file.") from error
    if not isinstance(frame.index, pd.RangeIndex):
        raise DataError(
            f"{path.name} has more cells in its rows than in its header; name every column."
        )
    return pd.DataFrame(frame)
