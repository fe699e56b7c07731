"""Find slide files, and the files that make up a slide."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

from morefromless.data.images import walk
from morefromless.errors import DataError

SLIDE_ONLY_SUFFIXES = frozenset(
    {".bif", ".btf", ".dcm", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide"}
)
"""File name extensions that only slides have."""
SUFFIXES = SLIDE_ONLY_SUFFIXES | {".tif", ".tiff"}
"""File name extensions of slides in a folder."""


def slide_files(paths: list[Path]) -> list[Path]:
    """The slides among files and folders, in order.

    The DICOM files of a folder are one slide, listed as its first file. Raises `DataError` if a
    folder has no slides, `OSError` for an unreadable folder: its slides would be missing silently.
    """
    slides: list[Path] = []
    for path in paths:
        if not path.is_dir():
            slides.append(path)
            continue
        inside = sorted(f for f in files_below(path, SUFFIXES) if f.is_file())
        if not inside:
            raise DataError(f"{path} has no slides ({', '.join(sorted(SUFFIXES))}).")
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
    """Files with one of the extensions in a folder and its subfolders.

    Hidden files, such as macOS's `._1.svs`, are excluded; broken links are included. Links to
    folders are followed. Raises `OSError` for an unreadable folder unless `unreadable` is "skip".
    """

    def refuse(error: OSError) -> None:
        raise error

    for subfolder, names, files in walk(folder, refuse if unreadable == "refuse" else None):
        names[:] = [name for name in names if not name.startswith(".")]
        paths = (Path(subfolder, name) for name in files if not name.startswith("."))
        yield from (path for path in paths if path.suffix.lower() in suffixes)


def slide_name(path: Path) -> str:
    """The file name without extension, or that of the folder for DICOM.

    >>> slide_name(Path("a/2.ome.tif")), slide_name(Path("a/3/x.dcm"))
    ('2', '3')
    """
    name = path.parent.name if path.suffix.lower() == ".dcm" else path.stem
    return name.removesuffix(".ome")


def slide_parts(path: Path) -> list[Path]:
    """The files that a slide is read from.

    DICOM: all DICOM files in its folder. MIRAX: also the files in the folder of the same name.
    Other formats: only the file itself.
    """
    if path.suffix.lower() == ".dcm":
        return sorted(f for f in path.parent.iterdir() if f.suffix.lower() == ".dcm")
    folder = path.with_suffix("")
    if path.suffix.lower() == ".mrxs" and folder.is_dir():
        return [path, *sorted(f for f in folder.iterdir() if f.is_file())]
    return [path]
