"""A table in which every row is a patch: its ids, labels, groups and splits, checked."""

from collections.abc import Sequence
from pathlib import Path

from morefromless.data.labels import NotText, NoValue
from morefromless.data.splits import Split
from morefromless.errors import DataError, near_names
from morefromless.sources import SPLITS
from morefromless.sources._files import Column, read_cells

SYNONYMS = {"group": "patient", "split": "partition"}
"""Columns, in any case, that stand in for others which a table lacks."""


class PatchTable:
    """The cells of a table. Whatever is wrong with one is a `DataError` of its row and column."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.columns = read_cells(path)

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
