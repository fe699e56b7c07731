"""Archives of image files: members are read in place, and nothing is unpacked to disk.

Members whose path leads out of the archive, and links, are skipped and counted.
`data.archive_readers` opens archives.
"""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar

from morefromless.data.images import SUFFIXES, describe_suffix
from morefromless.errors import DataError, UnreadablePatch

SUFFIX = re.compile(r"\.(zip|tar|tar\.gz|tgz|tar\.bz2|tar\.xz)\Z", re.IGNORECASE)


def is_archive(path: Path) -> bool:
    """Whether a path is an existing file with the extension of an archive.

    >>> is_archive(Path("NCT-CRC-HE-100K.zip"))
    False
    """
    return bool(SUFFIX.search(path.name)) and path.is_file()


class Archive(ABC):
    """The image files in an archive, by their paths below their common top folder."""

    fork_safe: ClassVar[bool] = True
    """Whether `read` may be called in forked processes, which share the position in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped_files: Counter[str] = Counter()
        members: dict[str, int] = {}
        for index, name in self._members():
            image_path = self._image_path(name)
            if image_path is None:
                continue
            if image_path in members:
                self.skipped_files["earlier member of the same name"] += 1
            members[image_path] = index
        self._indices = _strip_common_folders(members)
        self.names = self._order(self._indices)

    def read(self, name: str) -> bytes:
        """Read the bytes of a member; thread-safe. Raises `UnreadablePatch`."""
        try:
            return self._read(self._indices[name])
        except UnreadablePatch:
            raise
        except Exception as error:
            raise UnreadablePatch(
                "unreadable: damaged in the archive; download it again"
            ) from error

    @abstractmethod
    def _members(self) -> Iterator[tuple[int, str]]:
        """Yield index and name of every member that is a file; count the others as skipped."""

    @abstractmethod
    def _read(self, index: int) -> bytes: ...

    def _order(self, indices: dict[str, int]) -> list[str]:
        return sorted(indices, key=lambda name: PurePosixPath(name).parts)

    def _image_path(self, name: str) -> str | None:
        """The path of an image; None if the member is skipped."""
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
            self.skipped_files["member whose path leads out of the archive"] += 1
            return None
        if any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
            return None
        if path.suffix.lower() not in SUFFIXES:
            self.skipped_files[f"file {describe_suffix(Path(path))}"] += 1
            return None
        if not str(path).isprintable():
            raise DataError(
                f"{self.path} has a file name with unprintable characters, {name!r}; rename it."
            )
        return str(path)


def _strip_common_folders(indices: dict[str, int]) -> dict[str, int]:
    """Paths without their common top folders, which archives often have.

    >>> _strip_common_folders({"NCT/ADI/1.tif": 0, "NCT/TUM/2.tif": 1})
    {'ADI/1.tif': 0, 'TUM/2.tif': 1}
    """
    while indices and len({name.split("/")[0] for name in indices}) == 1:
        if any(name.count("/") < 2 for name in indices):
            break
        indices = {name.partition("/")[2]: index for name, index in indices.items()}
    return indices
