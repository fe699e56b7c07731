"""Which files are slides, and of which files one consists."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

from morefromless.data.images import walk
from morefromless.errors import DataError

SLIDES_ONLY = frozenset({".bif", ".btf", ".dcm", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide"})
"""Endings that no plain image has."""
SUFFIXES = SLIDES_ONLY | {".tif", ".tiff"}
"""Endings of slides in a folder."""


def slide_files(paths: list[Path]) -> list[Path]:
    """The slides among files and folders, in order; of a folder of DICOM files, which are one
    slide, the first. Raises `DataError` where a path holds none, `OSError` for a folder that may
    not be read, as its slides would be missing without a word."""
    slides: list[Path] = []
    for path in paths:
        if not path.is_dir():
            slides.append(path)
            continue
        inside = sorted(f for f in files_below(path, SUFFIXES) if f.is_file())
        if not inside:
            raise DataError(f"{path} holds no slides ({', '.join(sorted(SUFFIXES))}).")
        dicom: set[Path] = set()
        for file in inside:
            if file.suffix.lower() == ".dcm":
                if file.parent in dicom:
                    continue
                dicom.add(file.parent)
            slides.append(file)
    return slides


def files_below(
    folder: Path, suffixes: Collection[str], unreadable: Literal["refuse", "skip"] = "refuse"
) -> Iterator[Path]:
    """The files of such endings in a folder and those within, without hidden ones, such as macOS's
    `._1.svs`; links that lead nowhere are among them.

    Links to folders are followed. Raises `OSError` for a folder that may not be read, unless such
    folders are to be skipped.
    """

    def refuse(error: OSError) -> None:
        raise error

    for place, names, files in walk(folder, refuse if unreadable == "refuse" else None):
        names[:] = [name for name in names if not name.startswith(".")]
        paths = (Path(place, name) for name in files if not name.startswith("."))
        yield from (path for path in paths if path.suffix.lower() in suffixes)


def slide_parts(path: Path) -> list[Path]:
    """The files that a slide is read from: of DICOM all in its folder, of MIRAX also those in the
    folder of its name, of others the file alone."""
    if path.suffix.lower() == ".dcm":
        return sorted(f for f in path.parent.iterdir() if f.suffix.lower() == ".dcm")
    beside = path.with_suffix("")
    if path.suffix.lower() == ".mrxs" and beside.is_dir():
        return [path, *sorted(f for f in beside.iterdir() if f.is_file())]
    return [path]
