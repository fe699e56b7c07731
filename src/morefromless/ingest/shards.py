"""Shards: files with the records of consecutive items, written when their rows are on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from morefromless import files
from morefromless.config import IngestConfig
from morefromless.documents import read_json
from morefromless.errors import DataError
from morefromless.files import StorageError
from morefromless.ingest.decoding import Record
from morefromless.ingest.rows import THUMBNAIL
from morefromless.ingest.shapes import Shape

MAX_ITEMS, MAX_BYTES = 4096, 2**26
"""Maximum number of items, and of bytes of arrays, in a shard. Each shard costs one sync to disk,
which takes as long for few bytes as for many."""


@dataclass(frozen=True)
class Plan:
    """What an unfinished ingest decodes. Only an ingest with the same plan can resume it."""

    listing: str
    """Fingerprint of the listing and of the files that the source reads."""
    count: int
    """Number of items listed."""
    size: int | None
    resize: int | None
    missing: str
    shape: Shape
    shard: int
    """Items per shard. The last shard may have fewer."""

    @classmethod
    def of(cls, listing: str, count: int, config: IngestConfig, shape: Shape) -> "Plan":
        shard = max(1, min(MAX_ITEMS, MAX_BYTES // shape.bytes))
        shard -= shard % min(shard, shape.batch)  # whole batches
        return cls(listing, count, config.size, config.resize, config.missing, shape, shard)

    @classmethod
    def load(cls, path: Path) -> "Plan":
        """Read the plan in `path`. Raises `DataError` if it cannot be read."""
        try:
            return read_json(path, cls)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is damaged; remove {path.parent} and run again.") from error

    def check(self, folder: Path, listing: str, count: int, config: IngestConfig) -> None:
        """Raise `DataError` with the differences if the source or the options differ."""
        differences = []
        if self.listing != listing:
            other = f"{self.count} patches, not {count}" if self.count != count else "other patches"
            differences.append(f"the source listed {other}")
        for name in ("size", "resize", "missing"):
            before, now = getattr(self, name), getattr(config, name)
            if before != now:
                differences.append(
                    f"--{name} was {before or 'not given'}, now {now or 'not given'}"
                )
        if differences:
            raise DataError(
                f"{folder} contains an unfinished ingest with other data or options "
                f"({'; '.join(differences)}); remove that folder, or choose another destination."
            )


class Shards:
    """The shards of a plan in a folder. Each holds the records of consecutive items.

    A shard is written when the rows of its items are on disk. Existing shards are complete.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        self._written: dict[int, Sequence[Record]] = {}
        self.numbers = range(-(-plan.count // plan.shard))

    def items(self, number: int) -> range:
        """Indices of the items in a shard."""
        first = number * self.plan.shard
        return range(first, min(first + self.plan.shard, self.plan.count))

    def missing(self) -> list[int]:
        """Numbers of the shards that must still be decoded."""
        return [number for number in self.numbers if not self._path(number).exists()]

    def check_space(self) -> None:
        """Raise `StorageError` if the disk has too little space for the missing shards."""
        patches = sum(len(self.items(number)) for number in self.missing())
        size = patches * (self.plan.shape.bytes + THUMBNAIL.itemsize)
        advice = "free some space, choose another destination, or use a smaller --resize"
        files.check_space(self.folder.parent, size, advice)

    def write(self, number: int, records: Sequence[Record]) -> None:
        """Write the records of a shard atomically."""
        files.write_bytes(self._path(number), msgspec.json.encode(records))
        self._written[number] = records

    def records(self) -> list[Record]:
        """The records of all items. All shards must exist."""
        by_shard = (self._written.get(number) or self._read(number) for number in self.numbers)
        return [record for records in by_shard for record in records]

    def _read(self, number: int) -> list[Record]:
        path = self._path(number)
        try:
            records = read_json(path, list[Record])
            if len(records) != len(self.items(number)):
                raise ValueError("of other items")
        except (OSError, ValueError) as error:
            raise StorageError(f"{path} is damaged; remove this file and run again.") from error
        return records

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.json"
