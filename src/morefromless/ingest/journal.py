"""What was decoded so far: one line per item, appended once its pixels are on the disk."""

import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from morefromless.data.atomic import explaining
from morefromless.errors import DataError


@dataclass(frozen=True)
class Entry:
    """What became of one item: the hash of its pixels, or the reason why it was set aside."""

    index: int
    hash: str | None = None
    side: int | None = None
    """Side in pixels before any resizing."""
    reason: str | None = None
    absent: Sequence[str] = ()
    """Arrays that this patch lacks."""


class Journal:
    """An append-only file of entries, held by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with explaining(path):
            self._file = path.open("a+b", buffering=0)
            self._lock()
            self.entries = self._read()

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries; they are on the disk when this returns."""
        lines = "".join(json.dumps(asdict(entry)) + "\n" for entry in entries)
        with explaining(self.path):
            rest = memoryview(lines.encode())
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        self.entries.update((entry.index, entry) for entry in entries)

    def close(self) -> None:
        self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                f"Another process is writing to {self.path.parent}; wait for it, or choose "
                "another destination."
            ) from error
        except OSError:
            pass  # a file system without locks

    def _read(self) -> dict[int, Entry]:
        """Entries up to the first line that a kill left unfinished, which is cut off."""
        self._file.seek(0)
        entries: dict[int, Entry] = {}
        sound = 0
        for line in self._file.read().splitlines(keepends=True):
            try:
                entry = Entry(**json.loads(line))
            except (ValueError, TypeError):
                break
            if not line.endswith(b"\n"):
                break
            entries[entry.index] = entry
            sound += len(line)
        self._file.truncate(sound)
        return entries
