"""A folder of image files."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Literal

import numpy as np
import numpy.typing as npt

from morefromless.data.images import (
    further_pages,
    image_files,
    image_shape,
    list_images,
    read_rgb,
)
from morefromless.errors import ConfigError, DataError
from morefromless.sources import SPLITS, UNLABELLED, Datasheet, Item, Source


class Folder(Source):
    """Png, jpg and tif files in folders that name their classes.

    Three layouts are understood:

        CLASS/**/FILE         class folders
        SPLIT/CLASS/**/FILE   where every top folder is called train, val or test
        CLASS-FILE            files side by side, the class before the first dash

    `group` is a regular expression with one capturing group, searched for in a file's path below
    the folder; what it captures is the patch's group (patient or slide).

    `classes=none` is for files whose tissue is not known and whose nuclei are: every layout will
    do, and top folders called train, val or test are still the split.
    """

    def __init__(
        self, path: str, group: str | None = None, classes: Literal["named", "none"] = "named"
    ) -> None:
        self.path = Path(path).expanduser()
        self.group = None if group is None else _pattern(group)
        if classes not in ("named", "none"):
            raise ConfigError(f"folder has no classes={classes}; give named or none.")
        self.named = classes == "named"

    def datasheet(self) -> Datasheet:
        return Datasheet(title=self.path.resolve().name)

    def items(self) -> list[Item]:
        if not self.path.is_dir():
            raise DataError(f"There is no folder {self.path}; check the path.")
        files = [PurePath(file) for file in image_files(self.path)]
        if not files:
            raise DataError(f"{self.path} holds no png, jpg or tif files; check the path.")
        if not self.named:
            tops = {file.parts[0].lower() for file in files}
            split = SPLITS if tops <= set(SPLITS) else {}
            return [
                Item(
                    id=file.as_posix(),
                    label=UNLABELLED,
                    origin=file.as_posix(),
                    split=split.get(file.parts[0].lower()),
                    group=self._group(file.as_posix()),
                )
                for file in files
            ]
        below = _classes_below(self.path, files)
        return [
            Item(
                id=file.as_posix(),
                label=file.parts[below] if below is not None else file.name.partition("-")[0],
                origin=file.as_posix(),
                split=SPLITS[file.parts[0].lower()] if below == 1 else None,
                group=self._group(file.as_posix()),
            )
            for file in files
        ]

    def passed_over(self) -> Mapping[str, int]:
        return list_images(self.path)[1]

    def omitted(self, item: Item) -> Mapping[str, int]:
        return further_pages(self.path / item.id)

    def read(self, item: Item) -> dict[str, npt.NDArray[np.uint8]]:
        return {"he": read_rgb(self.path / item.id)}

    def shape(self, item: Item) -> tuple[int, int]:
        return image_shape(self.path / item.id)

    def _group(self, file: str) -> str | None:
        if self.group is None:
            return None
        match = self.group.search(file)
        if match is None or match[1] is None:
            raise DataError(
                f"group={self.group.pattern} finds nothing in '{file}'; mend the expression, or "
                f"rename that file in {self.path}."
            )
        return match[1]


def _pattern(group: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise ConfigError(f"group={group} is not a regular expression ({error}).") from error
    if pattern.groups != 1:
        raise ConfigError(
            f"group={group} has {pattern.groups} capturing groups; put ( ) around the one part of "
            r"the path that names the patient or slide, as in (P\d+)."
        )
    return pattern


def _classes_below(root: Path, files: list[PurePath]) -> int | None:
    """Depth of the class folders: 0, or 1 below split folders; None where names hold classes."""
    loose = [file for file in files if len(file.parts) == 1]
    if len(loose) == len(files):
        nameless = [file for file in files if not file.name.partition("-")[1]]
        if nameless:
            raise DataError(
                f"{root} has no class folders, and '{nameless[0]}' does not begin with a class and "
                "a dash; put the files of each class into a folder of its own, or say "
                "--unlabelled if nuclei (--nuclei) are all that is known."
            )
        return None
    if loose:
        raise DataError(
            f"'{loose[0]}' lies beside the folders of {root} and belongs to no class; move it into "
            "a class folder, or away."
        )
    tops = {file.parts[0] for file in files}
    known = {top for top in tops if top.lower() in SPLITS}
    if known < tops and {SPLITS[top.lower()] for top in known} >= {"train", "test"}:
        raise DataError(
            f"{root} holds {' and '.join(sorted(known))} beside {sorted(tops - known)[0]}; keep "
            "either split folders or class folders there."
        )
    if known != tops:
        return 0
    shallow = [file for file in files if len(file.parts) == 2]
    if shallow:
        raise DataError(
            f"'{shallow[0]}' in {root} lies in a split folder but in no class folder; move it into "
            "SPLIT/CLASS/."
        )
    return 1
