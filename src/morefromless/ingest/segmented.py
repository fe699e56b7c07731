"""Add nuclei from segmentation files to a source of images."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy.typing as npt

from morefromless import nuclei_formats
from morefromless.data.images import strip_image_suffix
from morefromless.data.nuclei import NUCLEI_ARRAY, Nuclei
from morefromless.data.schemes import Scheme
from morefromless.errors import DataError, UnreadablePatch
from morefromless.ingest.wrapping import Wrapper
from morefromless.nuclei_formats import NucleiFormat
from morefromless.sources import Datasheet, Item, Source
from morefromless.specs import build, members

FOLDERS = frozenset({"instances", "types", "cell_detection"})
"""Folders that tools create around their files. They are not part of the image's name."""

FIXED_NAMES = frozenset({"cells", "cell_detection", "pinst_pp", "class_inst", "poly"})
"""Fixed file names of tools. The folder of such a file has the name of the image."""

NAME_SUFFIXES = ("_cells", "_cp_masks", "_masks")
"""Suffixes that tools append to the name of an image (CellViT, cellpose)."""


class WithNuclei(Wrapper):
    """A source of images with an added array `nuclei`, read from one file per image in a folder.

    A file belongs to the image with the same path below the folder (ignoring the extension), else
    to the image with the same file name. Files in a folder that is also a folder of images match by
    path only. Images that would share a file are rejected. `nuclei_format` is a name such as `mat`
    or `geojson:convention=centres`; by default it is detected for each file. Images without a
    usable file are rejected with the reason.

    Raises `DataError` if the folder does not exist, and `ConfigError` for an unknown format.
    """

    fork_safe = False  # readers of HDF5 and zarr are not fork-safe

    def __init__(
        self, images: Source, folder: Path, scheme: Scheme, nuclei_format: str = "auto"
    ) -> None:
        super().__init__(images)
        self.folder, self.scheme = folder.expanduser(), scheme
        self.nuclei_format = nuclei_format
        if not self.folder.is_dir():
            raise DataError(f"There is no segmentation folder {self.folder}; check the path.")
        auto = nuclei_format == "auto"
        names = members(nuclei_formats, NucleiFormat) if auto else [nuclei_format]
        self._readers = [build(name, nuclei_formats, NucleiFormat) for name in names]
        self._skipped_objects: dict[str, Mapping[str, int]] = {}

    def skipped_parts(self, item: Item) -> Mapping[str, int]:
        return dict(
            Counter(self._skipped_objects.get(item.id, {}))
            + Counter(self.inside.skipped_parts(item))
        )

    def files(self) -> Sequence[Path]:
        # Extensions of all formats, because some formats also read a table next to their file.
        formats = members(nuclei_formats, NucleiFormat).values()
        suffixes = tuple(suffix for known in formats for suffix in known.suffixes)
        files = (p for p in self._all_paths if p.name.lower().endswith(suffixes) and p.is_file())
        return [*self.inside.files(), *files]

    def datasheet(self) -> Datasheet:
        name = f"{self.folder.resolve().name} ({self.nuclei_format})"
        return replace(self.inside.datasheet(), scheme=self.scheme, segmentation=name)

    def items(self) -> Sequence[Item]:
        items = self.inside.items()
        if not self._files:
            suffixes = ", ".join(sorted({s for reader in self._readers for s in reader.suffixes}))
            raise DataError(
                f"{self.folder} contains no segmentation files; expected extensions: {suffixes}."
            )
        return items

    def read(self, item: Item) -> dict[str, npt.NDArray[Any]]:
        path, reader = self._file(item)
        arrays = {
            name: array for name, array in self.inside.read(item).items() if name != NUCLEI_ARRAY
        }
        height, width, _ = next(array for array in arrays.values() if array.ndim == 3).shape
        nuclei = reader.read(path, (height, width))
        coded = Nuclei.typed(nuclei.instances, nuclei.types, self.scheme).encode()
        if nuclei.skipped:
            self._skipped_objects[item.id] = nuclei.skipped
        return {**arrays, NUCLEI_ARRAY: coded}

    @cached_property
    def _all_paths(self) -> list[Path]:
        """All files and folders below the folder, except hidden ones."""
        return [p for p in sorted(self.folder.rglob("*")) if not p.name.startswith(".")]

    @cached_property
    def _files(self) -> dict[Path, list[str]]:
        """File with a known extension -> possible paths of its image, most likely first."""
        files = {}
        for path in self._all_paths:
            if self._readers_for(path):
                relative = path.relative_to(self.folder).as_posix()
                files[path] = _image_names(_normal(relative[: -self._suffix_length(path)]))
        return files

    @cached_property
    def _claims(self) -> tuple[dict[str, list[Path]], dict[Path, list[str]]]:
        """Image name -> its files, and file -> ids of the images that it matches."""
        images = defaultdict(list)
        by_stem = defaultdict(list)
        for item in self.inside.items():
            name = _normal(strip_image_suffix(item.id))
            images[name].append(item.id)
            by_stem[PurePosixPath(name).name].append(item.id)
        folders = {str(PurePosixPath(name).parent) for name in images} - {"."}
        by_path, by_name, matches = defaultdict(list), defaultdict(list), {}
        for path, names in self._files.items():
            exact = next((name for name in names if name in images), None)
            if exact is not None:
                by_path[exact].append(path)
                matches[path] = images[exact]
                continue
            # A file in a folder that also has images belongs to those images only.
            if str(PurePosixPath(names[-1]).parent) not in folders:
                stem = next((n for n in map(_stem, names) if n in by_stem), _stem(names[0]))
                by_name[stem].append(path)
                matches[path] = by_stem[stem]
        return {name: by_path.get(name) or by_name.get(_stem(name), []) for name in images}, matches

    def _file(self, item: Item) -> tuple[Path, NucleiFormat]:
        files, matches = self._claims
        name = _normal(strip_image_suffix(item.id))
        stem = _stem(name)
        candidates, auto = files.get(name, []), self.nuclei_format == "auto"
        usable = [
            (path, reader)
            for path in candidates
            for reader in self._readers_for(path)
            if not auto or reader.recognises(path)
        ]
        if len(usable) > 1 and not auto:  # such as instances/a.png and types/a.png
            usable = [pair for pair in usable if pair[1].recognises(pair[0])] or usable
        if not usable:
            if candidates:
                file = candidates[0].name
                raise UnreadablePatch(f"unknown segmentation: {file} has no supported format")
            raise UnreadablePatch(f"no segmentation: there is no file for {stem}")
        if len(usable) > 1:
            paths = " and ".join(str(path.relative_to(self.folder)) for path, _ in usable[:2])
            raise UnreadablePatch(f"several segmentations: {paths} both match {stem}; keep one")
        (path, _), *_ = usable
        if len(matches[path]) > 1:
            raise UnreadablePatch(
                f"several images: {path.relative_to(self.folder)} matches "
                f"{' and '.join(matches[path][:2])}; give each file the same path as its image"
            )
        return usable[0]

    def _readers_for(self, path: Path) -> list[NucleiFormat]:
        """The readers for the extension of a file."""
        name = path.name.lower()
        return [reader for reader in self._readers if name.endswith(reader.suffixes)]

    def _suffix_length(self, path: Path) -> int:
        name = path.name.lower()
        suffixes = (suffix for reader in self._readers for suffix in reader.suffixes)
        return max(len(suffix) for suffix in suffixes if name.endswith(suffix))


def _normal(name: str) -> str:
    """Normalise a name for comparison: file systems store accents composed or decomposed."""
    return unicodedata.normalize("NFC", name)


def _stem(name: str) -> str:
    return PurePosixPath(name).name


def _image_names(path: str) -> list[str]:
    """Possible paths of the image of a file: its own path, and that without additions of tools.

    >>> _image_names("A/instances/p1")
    ['A/instances/p1', 'A/p1']
    >>> _image_names("A/p1/cell_detection/cells")
    ['A/p1/cell_detection/cells', 'A/p1']
    """
    *folders, stem = path.split("/")
    folders = [folder for folder in folders if folder not in FOLDERS]
    short = "/".join(folders if stem in FIXED_NAMES and folders else [*folders, stem])
    suffixes = [short.removesuffix(suffix) for suffix in NAME_SUFFIXES if short.endswith(suffix)]
    return list(dict.fromkeys([path, short, *suffixes]))
