"""A table of pairs: ids, labels, groups, splits and views (files, or rows of files)."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

from morefromless.data.labels import MissingValue, NotText
from morefromless.data.nuclei import NUCLEI_ARRAY
from morefromless.data.splits import Split
from morefromless.errors import DataError, near_names
from morefromless.sources import SPLITS
from morefromless.sources._files import (
    IMAGES,
    Column,
    File,
    View,
    open_rows,
    parse_cell,
    read_cells,
    row_index,
)

SYNONYMS = {"group": "patient", "split": "partition"}
"""Alternative names of columns, used if the column itself is missing. Case is ignored."""


class PairTable:
    """The cells of a table with one row per patch, in which some columns are views.

    Paths are relative to the table's folder. Any problem with a cell raises a `DataError` that
    names its row and column.
    """

    def __init__(self, path: Path) -> None:
        self.name, self.folder = path.name, path.parent
        self.columns = read_cells(path)
        self._files: dict[Path, File] = {}

    def cell_error(self, row: int, column: str, what: str) -> DataError:
        return DataError(f"{self.name}, row {row}, column {column}: {what}.")

    def column_name(self, name: str) -> str:
        """`name` if the table has this column, else a synonym of it, else `name`."""
        if name in self.columns:
            return name
        synonyms = (column for column in self.columns if column.lower() == SYNONYMS.get(name))
        return next(synonyms, name)

    def require_column(self, name: str) -> None:
        """Raise `DataError` if there is no column `name`."""
        if name not in self.columns:
            near = near_names(name, self.columns)
            hint = (
                f"it has {near[0]}; make the two names the same"
                if near
                else f"it has {', '.join(self.columns)}"
            )
            raise DataError(f"{self.name} has no column {name}; {hint}.")

    def check_misspelt_columns(self, expected: Sequence[str], used: set[str | None]) -> None:
        """Raise `DataError` if an expected column is missing and another has a similar name.

        Without this check, a misspelt split or patient column would be ignored, and test patches
        or other patches of test patients would be used for training.
        """
        for name in (name for name in expected if self.column_name(name) not in self.columns):
            unused = [other for other in self.columns if other not in used]
            names = (name, SYNONYMS.get(name, name))
            near = [other for known in names for other in near_names(known, unused, cutoff=0.8)]
            if near:
                raise DataError(
                    f"{self.name} has a column {near[0]} but no column {name}; rename it to "
                    f"{name}, or to a less similar name if it is something else."
                )

    def text_column(self, name: str) -> Column:
        """A column whose cells are text or empty. Raises `DataError` for other cells."""
        for row, cell in self.columns[name].items():
            if isinstance(cell, NotText):
                raise self.cell_error(
                    row, name, f"the cell holds {cell} instead of text; write text"
                )
        return self.columns[name]

    def filled_column(self, name: str, advice: str) -> Column:
        """A column without empty cells. Raises `DataError` if a cell is empty."""
        column = self.text_column(name)
        for row, cell in column.items():
            if not cell:
                what = (
                    "the cell holds NA or NaN"
                    if isinstance(cell, MissingValue)
                    else "the cell is empty"
                )
                raise self.cell_error(row, name, f"{what}; {advice}")
        return column

    def optional_column(self, name: str) -> Column:
        """A column without empty cells, or {} if the column is missing or has only empty cells."""
        if not any(self.columns.get(name, {}).values()):
            return {}
        return self.filled_column(name, "fill this cell like the other rows, or remove the column")

    def ids(self) -> Column:
        """The ids of the patches. Raises `DataError` if they are not unique."""
        ids = self.filled_column("id", "give every patch an id")
        first: dict[str, int] = {}
        for row, patch in ids.items():
            if first.setdefault(patch, row) != row:
                what = f"row {first[patch]} has the same id '{patch}'; every patch needs its own id"
                raise self.cell_error(row, "id", what)
        return ids

    def splits(self, name: str) -> dict[int, Split]:
        """Row -> split, read from the column `name`, or {} if that is missing or empty."""
        words = self.optional_column(name)
        for row, word in words.items():
            if word.lower() not in SPLITS:
                raise self.cell_error(row, name, f"'{word}' is not a split; use train, val or test")
        return {row: SPLITS[word.lower()] for row, word in words.items()}

    def view_columns(self, names: Sequence[str], known: set[str | None]) -> Sequence[str]:
        """`names` if given, else all columns not in `known` that have a view in any cell.

        Raises `DataError` if there is none, or if a column is empty or has an unsuitable name.
        """
        names = names or [
            name
            for name, column in self.columns.items()
            if name not in known and any(map(parse_cell, column.values()))
        ]
        if not names:
            raise DataError(
                f"{self.name} has no column of views; add one, such as he, with image files "
                f"({IMAGES}) or rows of a file such as expression.npy#0."
            )
        for name in names:
            if name in known or name == NUCLEI_ARRAY or not re.fullmatch(r"\w[\w-]*", name):
                raise DataError(
                    f"{self.name} has views in column {name}, a name that views cannot have; "
                    "rename it to he, ihc or another word of letters, digits, - and _."
                )
            if not any(self.columns[name].values()):
                raise DataError(f"{self.name} has only empty cells in column {name}; remove it.")
        return names

    def views(self, name: str) -> dict[int, View]:
        """Row -> view of a column, without the empty cells.

        Raises `DataError` if the views of the column differ in kind or in their columns.
        """
        cells = self.columns[name].items()
        views = {row: self._view(row, name, cell) for row, cell in cells if cell}
        first, expected = next(iter(views.items()))
        for row, view in views.items():
            if view.kind != expected.kind:
                what = f"this cell names {view.kind}, but row {first} names {expected.kind}"
                raise self.cell_error(row, name, f"{what}; all rows of a column need the same kind")
            if view.file is not expected.file and view.names != expected.names:
                files = f"{view.path.name} and {expected.path.name} (row {first})"
                what = f"{files} differ in their columns; give both the same columns in one order"
                raise self.cell_error(row, name, what)
        return views

    def _view(self, row: int, name: str, cell: str) -> View:
        reference = parse_cell(cell)
        if reference is None:
            raise self.cell_error(
                row,
                name,
                f"'{cell}' is neither an image file ({IMAGES}) nor a row of a file such as "
                "expression.npy#0 or expression.csv#NAME; correct it, or name the columns of "
                f"views, as in manifest:{self.name},modalities=he+ihc",
            )
        path = self._path(reference[0])
        if path not in self._files and not os.path.isfile(path):
            what = f"there is no file {path}; correct it, or empty the cell if there is no {name}"
            raise self.cell_error(row, name, what)
        if reference[1] is None:
            return View(path)
        try:
            if path not in self._files:
                self._files[path] = open_rows(path)
            return View(path, self._files[path], row_index(path, self._files[path], reference[1]))
        except DataError as error:
            raise self.cell_error(row, name, str(error).removesuffix(".")) from error

    def _path(self, cell_path: str) -> Path:
        """The file that a cell names, in the spelling of the file system.

        The two can differ: macOS stores ä as a letter and a combining mark (NFD), and tables from
        Windows separate folders with backslashes.
        """
        path = self.folder / cell_path
        if path in self._files or os.path.isfile(path):
            return path
        slashes = cell_path.replace("\\", "/")
        spellings = (self.folder / normalize(form, slashes) for form in ("NFC", "NFD"))
        return next((other for other in spellings if os.path.isfile(other)), path)
