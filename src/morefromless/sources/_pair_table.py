"""A table of pairs: ids, labels, groups, splits, and views, that is files or rows of files."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

from morefromless.data.labels import NotText, NoValue
from morefromless.data.nuclei import ARRAY
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
"""Columns, in any case, that stand in for others which a table lacks."""


class PairTable:
    """The cells of a table in which every row is a patch, and some columns are views.

    Paths begin at the table's folder. Whatever is wrong with a cell is a `DataError` that names its
    row and column.
    """

    def __init__(self, path: Path) -> None:
        self.name, self.folder = path.name, path.parent
        self.columns = read_cells(path)
        self._files: dict[Path, File] = {}

    def wrong(self, row: int, column: str, what: str) -> DataError:
        return DataError(f"{self.name}, row {row}, column {column}: {what}.")

    def column(self, name: str) -> str:
        """The column called `name`, or else a synonym of it that the table has."""
        if name in self.columns:
            return name
        synonyms = (column for column in self.columns if column.lower() == SYNONYMS.get(name))
        return next(synonyms, name)

    def need(self, name: str) -> None:
        """Raise where there is no column called `name`."""
        if name not in self.columns:
            near = near_names(name, self.columns)
            hint = f"make {near[0]} agree with it" if near else f"it has {', '.join(self.columns)}"
            raise DataError(f"{self.name} has no column {name}; {hint}.")

    def refuse_near(self, expected: Sequence[str], used: set[str | None]) -> None:
        """Raise where the table lacks an expected column, and has one of nearly that name.

        A split or a patient that is overlooked for its spelling would let test patches, or others
        of their patients, into training.
        """
        for name in (name for name in expected if self.column(name) not in self.columns):
            unused = [other for other in self.columns if other not in used]
            names = (name, SYNONYMS.get(name, name))
            near = [other for known in names for other in near_names(known, unused, cutoff=0.8)]
            if near:
                raise DataError(
                    f"{self.name} has a column {near[0]} and none called {name}; call it {name}, "
                    "or something less alike, for other columns are not looked at."
                )

    def texts(self, name: str) -> Column:
        """A column in which every cell has text or is empty."""
        for row, cell in self.columns[name].items():
            if isinstance(cell, NotText):
                raise self.wrong(row, name, f"it holds {cell} instead of text; write a word")
        return self.columns[name]

    def filled(self, name: str, advice: str) -> Column:
        """A column in which every cell has text."""
        column = self.texts(name)
        for row, cell in column.items():
            if not cell:
                what = "it holds NA or NaN" if isinstance(cell, NoValue) else "it is empty"
                raise self.wrong(row, name, f"{what}; {advice}")
        return column

    def if_known(self, name: str) -> Column:
        """A column that is filled; empty where the table lacks it, or has nothing in it."""
        if not any(self.columns.get(name, {}).values()):
            return {}
        return self.filled(name, "fill it as in other rows, or leave the column out")

    def ids(self) -> Column:
        """The patches' ids, each of which is unique."""
        ids = self.filled("id", "give every patch one")
        first: dict[str, int] = {}
        for row, patch in ids.items():
            if first.setdefault(patch, row) != row:
                what = f"'{patch}' is the id of row {first[patch]} too; every patch needs its own"
                raise self.wrong(row, "id", what)
        return ids

    def splits(self, name: str) -> dict[int, Split]:
        """The split of each row, as the column `name` says; empty where it is not known."""
        words = self.if_known(name)
        for row, word in words.items():
            if word.lower() not in SPLITS:
                raise self.wrong(row, name, f"'{word}' is no split; say train, val or test")
        return {row: SPLITS[word.lower()] for row, word in words.items()}

    def view_columns(self, names: Sequence[str], known: set[str | None]) -> Sequence[str]:
        """Those of `names`, else every column but those `known` in which a cell is a view."""
        names = names or [
            name
            for name, column in self.columns.items()
            if name not in known and any(map(parse_cell, column.values()))
        ]
        if not names:
            raise DataError(
                f"{self.name} has no column of views, that is of image files ({IMAGES}) or of "
                "rows such as expression.npy#0; add one, such as he."
            )
        for name in names:
            if name in known or name == ARRAY or not re.fullmatch(r"\w[\w-]*", name):
                raise DataError(
                    f"{self.name} has views in column {name}, which is no name for them; call "
                    "it he, ihc or another word of letters, digits, - and _."
                )
            if not any(self.columns[name].values()):
                raise DataError(f"{self.name} has nothing in column {name}; leave it out.")
        return names

    def views(self, name: str) -> dict[int, View]:
        """The views of a column by row, where there are some; all of one kind."""
        cells = self.columns[name].items()
        views = {row: self._view(row, name, cell) for row, cell in cells if cell}
        first, expected = next(iter(views.items()))
        for row, view in views.items():
            if view.kind != expected.kind:
                what = f"it has {view.kind} and row {first} has {expected.kind}"
                raise self.wrong(row, name, f"{what}; give all rows of a column the same")
            if view.file is not expected.file and view.names != expected.names:
                files = f"{view.path.name} and {expected.path.name} (row {first})"
                what = f"{files} differ in their columns; give both the same, in one order"
                raise self.wrong(row, name, what)
        return views

    def _view(self, row: int, name: str, cell: str) -> View:
        reference = parse_cell(cell)
        if reference is None:
            raise self.wrong(
                row,
                name,
                f"'{cell}' is neither an image file ({IMAGES}) nor a row of a file such as "
                "expression.npy#0 or expression.csv#NAME; mend it, or say which columns are views, "
                f"as in manifest:{self.name},modalities=he+ihc",
            )
        path = self._path(reference[0])
        if path not in self._files and not os.path.isfile(path):
            what = f"there is no file {path}; mend it, or empty the cell if the patch lacks {name}"
            raise self.wrong(row, name, what)
        if reference[1] is None:
            return View(path)
        try:
            if path not in self._files:
                self._files[path] = open_rows(path)
            return View(path, self._files[path], row_index(path, self._files[path], reference[1]))
        except DataError as error:
            raise self.wrong(row, name, str(error).removesuffix(".")) from error

    def _path(self, written: str) -> Path:
        """The file that a cell names, as the disk spells it, where that is another way: macOS parts
        ä into a letter and its dots, and Windows parts folders by backslashes."""
        path = self.folder / written
        if path in self._files or os.path.isfile(path):
            return path
        slashes = written.replace("\\", "/")
        spellings = (self.folder / normalize(form, slashes) for form in ("NFC", "NFD"))
        return next((other for other in spellings if os.path.isfile(other)), path)
