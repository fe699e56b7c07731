"""Sources: data sets, on disk or synthetic, from which a store is made. Users can add sources.

To add one, add a file with one public class derived from `Source`. Its docstring is the datasheet
of the data set. `mfl ingest NAME:PATH STORE` then finds the class by the name of the file.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy.typing as npt

from morefromless.data.images import walk
from morefromless.data.labels import normal_label, normal_name
from morefromless.data.schemes import Scheme
from morefromless.data.splits import Split
from morefromless.errors import DataError

SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""Accepted names of the splits, in lower case."""


NO_SPELLINGS: Mapping[str, str] = {}
"""Shared by all items to save memory: a source may have a million of them."""


@dataclass(frozen=True, slots=True)
class Item:
    """One patch as a source lists it, before decoding.

    `id` is unique within the source and stable between listings. `origin` is a readable location,
    such as a path below the source or a row of an array. `split` and `group` (patient or slide)
    are None if the source does not know them. `place` is (x, y) of the top left corner, in pixels
    of a slide's finest level or of the tile that the patch is cut from, or None. Label and group
    are normalised (`data.labels.normal_label`, `normal_name`). Raises `DataError` for control
    characters in them and for an unknown split.
    """

    id: str
    label: str
    origin: str
    split: Split | None = None
    group: str | None = None
    place: tuple[int, int] | None = None
    spellings: Mapping[str, str] = field(
        default_factory=lambda: NO_SPELLINGS, compare=False, repr=False
    )
    """Label and group as the source spells them -> normal form, if the two differ."""

    def __post_init__(self) -> None:
        if self.split is not None and self.split not in get_args(Split):
            raise DataError(
                f"'{self.origin}' is in an unknown split '{self.split}'; use train, val or test, "
                "or None if the split is not known."
            )
        for name in ("label", "group"):
            given = getattr(self, name)
            if given is None:
                continue
            normal = normal_label(given) if name == "label" else normal_name(given)
            if normal != given:
                object.__setattr__(self, "spellings", {**self.spellings, given: normal})
                object.__setattr__(self, name, normal)


@dataclass(frozen=True)
class Datasheet:
    """Description of a data set that every result can quote."""

    title: str
    licence: str = "not stated"
    citation: str = ""
    um_per_px: float | None = None
    classes: Mapping[str, str] = field(default_factory=dict)
    """Class name -> description. Empty if the names need no description."""
    scheme: Scheme | None = None
    """Types of the nuclei in the array `nuclei`, or None if there is no such array."""
    segmentation: str = ""
    """Origin of the nuclei, if they do not come with the images."""
    optional: frozenset[str] = frozenset()
    """Arrays that may be missing from a patch. At least one patch has each of them."""
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Array -> names of its channels (if not RGB) or of its values (vectors), if known."""
    scales: Mapping[str, float] = field(default_factory=dict)
    """µm per px of arrays that show a different field from `he`, such as a wider one."""


class Source(ABC):
    """Patches that `ingest` decodes once into a store."""

    @property
    def fork_safe(self) -> bool:
        """Whether `read` may also be called in forked processes.

        Such a `read` shares no position of an open file with the parent process and does not use
        PyTorch. Only `skipped_parts` reads the state that it keeps.
        """
        return False

    @abstractmethod
    def datasheet(self) -> Datasheet:
        """Title, licence, magnification and classes."""

    def skipped_parts(self, item: Item) -> Mapping[str, int]:  # noqa: ARG002
        """Skipped parts of an item, available after it was read: kind -> count."""
        return {}

    def skipped_files(self) -> Mapping[str, int]:
        """Skipped files or patches that are not items: kind (such as a file extension) -> count."""
        return {}

    def remarks(self) -> Sequence[str]:
        """Sentences on the data, or on how they were read, that every result must show."""
        return []

    def files(self) -> Sequence[Path]:
        """All files that `items` and `read` depend on. Default: the files at or below `path`."""
        path = getattr(self, "path", None)
        if not isinstance(path, Path):
            return []
        if path.is_file():
            return [path]
        walked = (f"{folder}{os.sep}{name}" for folder, _, names in walk(path) for name in names)
        return [Path(f) for f in sorted(walked, key=lambda f: f.split(os.sep)) if os.path.isfile(f)]

    @abstractmethod
    def items(self) -> Sequence[Item]:
        """All patches, in the same order at each call. Must be cheap. Raises `DataError`."""

    @abstractmethod
    def read(self, item: Item) -> dict[str, npt.NDArray[Any]]:
        """Read the arrays of one patch, by name.

        Arrays are images (side, side, channels) uint8 or uint16 (RGB if there are three channels)
        and, in addition, vectors (length,) float32 with finite values. An array has the same shape
        in every patch. All images of a patch show the same field, each at its own resolution,
        unless the datasheet's `scales` say otherwise. Optional arrays (see `Datasheet`) may be
        missing, but a patch needs at least one image.

        The array `nuclei` is a label image made by `data.nuclei.Nuclei.encode` and is never
        interpolated. `read` must be thread-safe. Raises `UnreadablePatch` with the reason if the
        patch cannot be used.
        """

    def shape(self, item: Item) -> tuple[int, int]:
        """Height and width in px, before cutting. Raises `UnreadablePatch` like `read`."""
        images = (array for array in self.read(item).values() if array.ndim == 3)
        height, width, _ = next(images).shape
        return height, width
