"""A source that wraps another source."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from morefromless.sources import Datasheet, Item, Source


class Wrapper(Source):
    """Base class that delegates everything to the source `inside`. Override what differs."""

    def __init__(self, inside: Source) -> None:
        self.inside = inside

    @property
    def fork_safe(self) -> bool:
        return self.inside.fork_safe

    def datasheet(self) -> Datasheet:
        return self.inside.datasheet()

    def skipped_parts(self, item: Item) -> Mapping[str, int]:
        return self.inside.skipped_parts(item)

    def skipped_files(self) -> Mapping[str, int]:
        return self.inside.skipped_files()

    def remarks(self) -> Sequence[str]:
        return self.inside.remarks()

    def files(self) -> Sequence[Path]:
        return self.inside.files()

    def items(self) -> Sequence[Item]:
        return self.inside.items()

    def read(self, item: Item) -> dict[str, npt.NDArray[Any]]:
        return self.inside.read(item)

    def shape(self, item: Item) -> tuple[int, int]:
        return self.inside.shape(item)
