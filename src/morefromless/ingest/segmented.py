"""Images with the nuclei that somebody segmented, from files beside them or elsewhere."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy.typing as npt

from morefromless import nuclei_formats
from morefromless.data.images import bare
from morefromless.data.nuclei import ARRAY, Nuclei
from morefromless.data.schemes import Scheme
from morefromless.errors import DataError, UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat
from morefromless.sources import Datasheet, Item, Source
from morefromless.specs import build, members


class WithNuclei(Source):
    """A source of images, with the array `nuclei` from one file per image below a folder.

    A file belongs to the image of the same name: the same path below the folder (whatever the
    ending), else the same file name anywhere below it. `how` names the format, such as `mat` or
    `geojson:convention=centres`; by default each file is asked. Images without a file, and files
    that cannot be used, are set aside with the reason.

    Raises `DataError` where there is no such folder and `ConfigError` for an unknown format.
    """

    def __init__(self, images: Source, folder: Path, scheme: Scheme, how: str = "auto") -> None:
        self.images, self.folder, self.scheme, self.how = images, folder.expanduser(), scheme, how
        if not self.folder.is_dir():
            raise DataError(f"There is no folder {self.folder} of segmentations; check the path.")
        known = members(nuclei_formats, NucleiFormat)
        self._formats = (
            [build(name, nuclei_formats, NucleiFormat) for name in known]
            if how == "auto"
            else [build(how, nuclei_formats, NucleiFormat)]
        )

    def datasheet(self) -> Datasheet:
        said = f"{self.folder.resolve().name} ({self.how})"
        return replace(self.images.datasheet(), scheme=self.scheme, segmentation=said)

    def items(self) -> Sequence[Item]:
        items = self.images.items()
        if not self._files[0]:
            endings = ", ".join(sorted({s for how in self._formats for s in how.suffixes}))
            raise DataError(f"{self.folder} holds no segmentations; their files end in {endings}.")
        return items

    def read(self, item: Item) -> dict[str, npt.NDArray[Any]]:
        path, how = self._file(item)
        arrays = {name: array for name, array in self.images.read(item).items() if name != ARRAY}
        height, width, _ = next(array for array in arrays.values() if array.ndim == 3).shape
        found = how.read(path, (height, width))
        return {**arrays, ARRAY: Nuclei.typed(found.instances, found.types, self.scheme).encode()}

    def shape(self, item: Item) -> tuple[int, int]:
        return self.images.shape(item)

    @cached_property
    def _files(self) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
        """Files by their path below the folder, and by their name, both without endings."""
        endings = {suffix for how in self._formats for suffix in how.suffixes}
        by_path, by_name = defaultdict(list), defaultdict(list)
        for path in sorted(self.folder.rglob("*")):
            if path.suffix.lower() in endings and not path.name.startswith("."):
                by_path[path.relative_to(self.folder).with_suffix("").as_posix()].append(path)
                by_name[path.stem].append(path)
        return by_path, by_name

    def _file(self, item: Item) -> tuple[Path, NucleiFormat]:
        by_path, by_name = self._files
        name = bare(item.id)
        stem = PurePosixPath(name).name
        candidates = by_path.get(name) or by_name.get(stem, [])
        usable = [
            (path, how)
            for path in candidates
            for how in self._formats
            if path.suffix.lower() in how.suffixes and (self.how != "auto" or how.recognises(path))
        ]
        if len(usable) > 1 and self.how != "auto":  # such as instances/a.png and types/a.png
            usable = [(path, how) for path, how in usable if how.recognises(path)] or usable
        if not usable:
            if candidates:
                name = candidates[0].name
                raise UnreadablePatch(f"unknown segmentation: {name} is of no format known here")
            raise UnreadablePatch(f"no segmentation: there is no file for {stem}")
        if len(usable) > 1:
            names = " and ".join(str(path.relative_to(self.folder)) for path, _ in usable[:2])
            raise UnreadablePatch(f"several segmentations: {names} both belong to {stem}")
        return usable[0]
