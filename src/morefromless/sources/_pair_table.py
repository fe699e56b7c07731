"""A table of pairs: some of its columns are views, that is files or rows of files."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

from morefromless.data.nuclei import ARRAY
from morefromless.errors import DataError
from morefromless.sources._files import IMAGES, File, View, open_rows, parse_cell, row_index
from morefromless.sources._patch_table import PatchTable


class PairTable(PatchTable):
    """The cells of a table that stands in a folder, where the paths in it begin."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.folder = path.parent
        self._files: dict[Path, File] = {}

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
