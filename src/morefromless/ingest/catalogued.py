"""A public data set with the facts of its datasheet."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from morefromless.catalogue import PublicSet
from morefromless.errors import DataError
from morefromless.ingest.wrapping import Wrapper
from morefromless.sources import Datasheet, Item, Source


class Catalogued(Wrapper):
    """A source with the title, licence, citation, scale and pitfalls of a datasheet.

    `items` raises `DataError` if the number of patches of a class differs from the datasheet.
    """

    def __init__(self, inside: Source, sheet: PublicSet) -> None:
        super().__init__(inside)
        self.sheet = sheet

    def datasheet(self) -> Datasheet:
        sheet = self.sheet
        return replace(
            self.inside.datasheet(),
            title=sheet.title,
            licence=sheet.licence,
            citation=sheet.citation,
            um_per_px=sheet.um_per_px,
        )

    def remarks(self) -> Sequence[str]:
        return [*self.inside.remarks(), *self.sheet.pitfalls]

    def items(self) -> Sequence[Item]:
        items = self.inside.items()
        listed = Counter(item.label for item in items)
        for name in sorted({*listed, *self.sheet.counts}):
            expected = self.sheet.counts.get(name, 0)
            if self.sheet.counts and listed[name] != expected:
                raise DataError(
                    f"{self.sheet.title} has {expected:,} patches of {name}, but {listed[name]:,} "
                    "were found; download it again, or ingest the files by their path if you want "
                    "a part of it."
                )
        return items
