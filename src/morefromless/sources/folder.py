"""A folder of image files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from morefromless.data.labels import UNLABELLED
from morefromless.errors import DataError
from morefromless.sources import SPLITS, Datasheet, Item
from morefromless.sources._images import ImageFiles


class Folder(ImageFiles):
    """Image files (png, jpg, tif, bmp, webp) in folders that name their classes.

    Supported layouts:

        CLASS/**/FILE         class folders
        PATIENT/CLASS/FILE    if every top folder has a digit in its name, and all of them contain
                              the same few folders; PATIENT is the group
        CLASS-FILE            all files in one folder, the class before the first dash

    The first two layouts may also be below SPLIT/, if every top folder is named train, val or test.

    `classes=none` is for files whose paths do not name tissue classes. Any layout is accepted, and
    top folders named train, val or test are still the split. An archive (.zip, .tar, .tar.gz) is
    read like the folder that it contains.
    """

    def __init__(self, path: str, classes: Literal["named", "none"] = "named") -> None:
        super().__init__(path)
        self.named = classes == "named"

    def datasheet(self) -> Datasheet:
        return Datasheet(title=self.path.resolve().name)

    def items(self) -> list[Item]:
        layout = self._layout
        return [
            Item(
                id=name,
                label=layout.label(parts),
                origin=name,
                split=SPLITS[parts[0].lower()] if layout.splits else None,
                group=None if layout.group is None else parts[layout.group],
            )
            for name, parts in ((name, name.split("/")) for name in self.tree.names)
        ]

    def remarks(self) -> Sequence[str]:
        if self._layout.group is None:
            return []
        return [
            "Folders are read as PATIENT/CLASS: the outer folders are the groups. If they are the "
            "classes, use --label '^([^/]+)/'."
        ]

    @cached_property
    def _layout(self) -> "_Layout":
        if self.named:
            return _layout(self.path, self.tree.names)
        tops = {name.split("/")[0].lower() for name in self.tree.names}
        return _Layout(splits=tops <= set(SPLITS), named=False)


@dataclass(frozen=True)
class _Layout:
    """The meaning of the folders in a path."""

    splits: bool = False
    """Whether the first folder is the split."""
    named: bool = True
    """Whether paths name classes."""
    depth: int | None = None
    """Depth of the class folder, or None if the file name begins with the class."""
    group: int | None = None
    """Depth of the patient folder, or None."""

    def label(self, parts: Sequence[str]) -> str:
        """The label of a file, given the parts of its path."""
        if not self.named:
            return UNLABELLED
        return parts[-1].partition("-")[0] if self.depth is None else parts[self.depth]


def _layout(root: Path, files: list[str]) -> _Layout:
    loose = [file for file in files if "/" not in file]
    if len(loose) == len(files):
        nameless = [file for file in files if "-" not in file]
        if nameless:
            raise DataError(
                f"{root} has no class folders, and '{nameless[0]}' does not begin with a class and "
                "a dash; put the files of each class into a separate folder, find the class in the "
                "path with --label, or use --unlabelled if classes are not known."
            )
        return _Layout()
    if loose:
        raise DataError(
            f"'{loose[0]}' is in {root} but not in a class folder; move it into a class folder, "
            "or remove it."
        )
    paths = [file.split("/") for file in files]
    tops = {path[0] for path in paths}
    known = {top for top in tops if top.lower() in SPLITS}
    if known < tops and {SPLITS[top.lower()] for top in known} >= {"train", "test"}:
        raise DataError(
            f"{root} contains {' and '.join(sorted(known))} in addition to "
            f"{sorted(tops - known)[0]}; keep either split folders or class folders there."
        )
    splits = known == tops
    shallow = [file for file in files if file.count("/") == 1]
    if splits and shallow:
        raise DataError(
            f"'{shallow[0]}' in {root} is in a split folder but not in a class folder; move it "
            "into SPLIT/CLASS/."
        )
    first = int(splits)
    if _patients_first([tuple(path[first:]) for path in paths]):
        return _Layout(splits, depth=first + 1, group=first)
    return _Layout(splits, depth=first)


def _patients_first(paths: list[tuple[str, ...]]) -> bool:
    """Whether folders are PATIENT/CLASS: patients have digits, and classes are few and recur.

    >>> _patients_first([("P1", "tumour", "1.png"), ("P2", "tumour", "1.png")])
    True
    >>> _patients_first([("benign", "40X", "1.png"), ("malignant", "40X", "1.png")])
    False
    """
    if any(len(path) != 3 for path in paths):
        return False
    pairs = {path[:2] for path in paths}
    patients, classes = ({pair[position] for pair in pairs} for position in (0, 1))
    numbered = all(any(map(str.isdigit, name)) for name in patients)
    recur = len(classes) <= len(patients) and len(classes) < len(pairs)
    return numbered and recur and not {name.lower() for name in classes} <= set(SPLITS)
