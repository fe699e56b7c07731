"""CoNSeP: colorectal tiles in which pathologists outlined and typed every nucleus."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from morefromless.data.images import describe_suffix, further_pages, image_shape, read_rgb
from morefromless.data.labels import UNLABELLED
from morefromless.data.matfiles import read_mat
from morefromless.data.nuclei import NUCLEI_ARRAY, Nuclei
from morefromless.data.schemes import CONSEP, CONSEP_SEVEN
from morefromless.data.splits import Split
from morefromless.errors import DataError, UnreadablePatch
from morefromless.sources import Datasheet, Item, Source

FOLDERS: dict[str, Split] = {"train": "train", "test": "test"}
"""Folder name -> split. Case is ignored."""
SUFFIXES = {"images": ".png", "labels": ".mat"}


class Consep(Source):
    """41 H&E tiles of colorectal adenocarcinoma, 1000 x 1000 px at 0.25 µm/px, 24,332 nuclei.

    The tiles are from 16 patients. The files do not identify them, so each tile is a group. `PATH`
    holds Train/ and Test/, each with Images/*.png and Labels/*.mat. The case of folder names is
    ignored. There are no tissue labels. Nucleus types are the four merged types of CoNSeP;
    `types=seven` reads files with the published types and merges them. Tiles are large: cut them
    into patches with `--cut 250`.
    """

    def __init__(self, path: str, types: Literal["merged", "seven"] = "merged") -> None:
        self.path = Path(path).expanduser()
        self.scheme = CONSEP if types == "merged" else CONSEP_SEVEN

    def datasheet(self) -> Datasheet:
        return Datasheet(
            title="CoNSeP",
            licence="CC BY-NC-SA 4.0",
            citation="Graham et al. 2019, HoVer-Net, Medical Image Analysis 58, 101563",
            um_per_px=0.25,
            scheme=self.scheme,
        )

    def items(self) -> Sequence[Item]:
        stems = {(folder, stem) for folder, stem, _ in self._files}
        if not stems:
            raise DataError(
                f"{self.path} contains no Train/Images/*.png or Test/Images/*.png; check the path."
            )
        return [
            Item(
                id=f"{folder}/{stem}",
                label=UNLABELLED,
                origin=self._origin(folder, stem, "images"),
                split=FOLDERS[folder.lower()],
                group=stem,
            )
            for folder, stem in sorted(stems)
        ]

    def remarks(self) -> Sequence[str]:
        return [
            "Groups are tiles. Patients are not known, so tiles of one patient count as several "
            "groups, and intervals may be too narrow."
        ]

    def read(self, item: Item) -> dict[str, npt.NDArray[np.uint8]]:
        image = read_rgb(self._image(item))
        folder, _, stem = item.id.partition("/")
        label = self.path / self._origin(folder, stem, "labels")
        instances, types = read_mat(label, image.shape)
        return {"he": image, NUCLEI_ARRAY: Nuclei.typed(instances, types, self.scheme).encode()}

    def skipped_parts(self, item: Item) -> Mapping[str, int]:
        return further_pages(self._image(item))

    def skipped_files(self) -> Mapping[str, int]:
        """Files with other extensions in the folders of images and labels."""
        used = set(self._files.values())
        return Counter(
            f"file {describe_suffix(file)} in {file.parent.name}"
            for _, file in self._listed()
            if file.is_file() and "/".join(file.parts[-3:]) not in used
        )

    def shape(self, item: Item) -> tuple[int, int]:
        return image_shape(self._image(item))

    def _image(self, item: Item) -> Path:
        path = self.path / item.origin
        if not path.is_file():
            raise UnreadablePatch(f"no image: there is no file {item.origin}; add it")
        return path

    @cached_property
    def _files(self) -> dict[tuple[str, str, str], str]:
        """(folder as spelt on disk, stem, kind) -> path below `path`."""
        return {
            (file.parts[-3], file.stem, kind): "/".join(file.parts[-3:])
            for kind, file in self._listed()
            if file.suffix.lower() == SUFFIXES[kind]
        }

    def _listed(self) -> list[tuple[str, Path]]:
        """Kind and path of all files in the folders of images and labels, except hidden files."""
        return [
            (kind, file)
            for file in sorted(self.path.glob("*/*/*"))
            if (kind := file.parent.name.lower()) in SUFFIXES
            and file.parts[-3].lower() in FOLDERS
            and not file.name.startswith(".")
        ]

    def _origin(self, folder: str, stem: str, kind: str) -> str:
        missing = f"{folder}/{kind.capitalize()}/{stem}{SUFFIXES[kind]}"
        return self._files.get((folder, stem, kind), missing)
