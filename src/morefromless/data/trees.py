"""Image files by their paths: in a folder, in an archive, or in a folder of archives."""

from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path

from morefromless.data.archive_readers import open_archive
from morefromless.data.archives import SUFFIX, Archive, is_archive
from morefromless.data.images import describe_suffix, list_images
from morefromless.errors import DataError


class Tree(ABC):
    """Paths of image files, in a fixed order, and access to their contents."""

    names: list[str]
    skipped_files: Counter[str]
    """Number of skipped items by kind."""

    @property
    def fork_safe(self) -> bool:
        """Whether `image` may be called in forked processes."""
        return True

    @abstractmethod
    def files(self) -> list[Path]:
        """The files that images are read from: the images themselves, or archives."""

    @abstractmethod
    def image(self, name: str) -> Path | bytes:
        """The input of `data.images.read_rgb` for an image. Raises `UnreadablePatch`."""


def open_tree(path: Path) -> Tree:
    """Open the images below a folder, or in an archive (.zip, .tar, .tar.gz ...).

    In a folder with archives and no image files, each archive acts as a folder with its name
    without the extension. Raises `DataError` if `path` is neither, or an archive is damaged.
    """
    if is_archive(path):
        return _Archived({"": open_archive(path)})
    if not path.is_dir():
        raise DataError(f"There is no folder {path}; check the path.")
    tree = _Folder(path)
    archives = sorted(f for f in path.iterdir() if is_archive(f) and not f.name.startswith("."))
    if tree.names or not archives:
        return tree
    archive_of: dict[str, Path] = {}
    for file in archives:
        name = SUFFIX.sub("", file.name)
        if archive_of.setdefault(name, file) is not file:
            raise DataError(
                f"{archive_of[name].name} and {file.name} in {path} would both be the folder "
                f"{name}; remove or rename one."
            )
    also_skipped = tree.skipped_files - Counter(
        f"file {describe_suffix(file)}" for file in archives
    )
    return _Archived(
        {f"{name}/": open_archive(file) for name, file in archive_of.items()}, also_skipped
    )


class _Folder(Tree):
    def __init__(self, path: Path) -> None:
        self.path = path
        self.names, self.skipped_files = list_images(path)

    def files(self) -> list[Path]:
        return [path for path in map(self.image, self.names) if path.is_file()]

    def image(self, name: str) -> Path:
        return self.path / name


class _Archived(Tree):
    def __init__(
        self, archives: dict[str, Archive], also_skipped: Counter[str] | None = None
    ) -> None:
        self._archives = archives
        self._tops = {top + n: top for top, archive in archives.items() for n in archive.names}
        self.names = list(self._tops)
        self.skipped_files = sum(
            (a.skipped_files for a in archives.values()), also_skipped or Counter()
        )

    @property
    def fork_safe(self) -> bool:
        return all(archive.fork_safe for archive in self._archives.values())

    def files(self) -> list[Path]:
        return [archive.path for archive in self._archives.values()]

    def image(self, name: str) -> bytes:
        top = self._tops[name]
        return self._archives[top].read(name.removeprefix(top))
