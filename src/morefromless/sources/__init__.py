"""Sources: data sets on disk (or drawn) that a store is made from. An open set.

To add one, add a file with one public class deriving from `Source`, whose docstring reads as the
data set's datasheet. `mfl ingest NAME:PATH STORE` then knows it by the file's name.
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
"""What people call the splits, in lower case."""


NO_SPELLINGS: Mapping[str, str] = {}
"""The same object for all items, of which there may be a million."""


@dataclass(frozen=True, slots=True)
class Item:
    """One patch as a source lists it, before it is decoded.

    `id` is unique within the source and stable between listings; `origin` tells a person where it
    came from (a path below the source, a row of an array). `split` and `group` (patient or slide)
    are None where the source does not know them; `place` is x, y of its top left corner in pixels
    of a slide's finest level, or of the tile that was cut; None where it is of neither. Label and
    group are normalised (`data.labels.normal_label`, `normal_name`), which raises `DataError` for
    control characters, as another split does.
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
    """Label and group as the source spells them, where that is not the normal form, to that."""

    def __post_init__(self) -> None:
        if self.split is not None and self.split not in get_args(Split):
            raise DataError(
                f"'{self.origin}' is in the split '{self.split}'; give train, val or test, or None "
                "where it is not known."
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
    """What a result must be able to say about its data."""

    title: str
    licence: str = "not stated"
    citation: str = ""
    um_per_px: float | None = None
    classes: Mapping[str, str] = field(default_factory=dict)
    """Class name to its description; empty where the names say it all."""
    scheme: Scheme | None = None
    """Types of the nuclei in the array `nuclei`; None where there is no such array."""
    segmentation: str = ""
    """Where the nuclei come from, where that is another place than the images."""
    optional: frozenset[str] = frozenset()
    """Arrays that a patch may lack; every one of them is there for some patch."""
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the channels of arrays that are no RGB, and of a vector's values, where known."""
    scales: Mapping[str, float] = field(default_factory=dict)
    """µm per px of arrays that show another field than `he`, such as a wider one."""


class Source(ABC):
    """Patches to be decoded once into a store."""

    @property
    def fork_safe(self) -> bool:
        """Whether `read` may be called in forked processes too: it shares no open file's position
        with the parent, uses no PyTorch, and what it notes is asked by `omitted` alone."""
        return False

    @abstractmethod
    def datasheet(self) -> Datasheet:
        """Title, licence, magnification and classes."""

    def omitted(self, item: Item) -> Mapping[str, int]:  # noqa: ARG002
        """What was left out of an item, once it was read: kind to number."""
        return {}

    def passed_over(self) -> Mapping[str, int]:
        """What lies beside the items and is none: kind, such as an ending, to number."""
        return {}

    def remarks(self) -> Sequence[str]:
        """Sentences on how the data were read, or on the data, that must stand with any result."""
        return []

    def files(self) -> Sequence[Path]:
        """Every file that `items` and `read` depend on; by default those at or below `path`."""
        path = getattr(self, "path", None)
        if not isinstance(path, Path):
            return []
        if path.is_file():
            return [path]
        walked = (f"{folder}{os.sep}{name}" for folder, _, names in walk(path) for name in names)
        return [Path(f) for f in sorted(walked, key=lambda f: f.split(os.sep)) if os.path.isfile(f)]

    @abstractmethod
    def items(self) -> Sequence[Item]:
        """Every patch, cheaply and in the same order each time. Raises `DataError`."""

    @abstractmethod
    def read(self, item: Item) -> dict[str, npt.NDArray[Any]]:
        """The arrays of one patch by name: images (side, side, channels) uint8 or uint16, RGB where
        there are three channels, of one shape for every patch; beside them vectors (length,)
        float32, finite and likewise. Images show the same field, at as many pixels as each has,
        unless the datasheet's `scales` say otherwise. Arrays that the datasheet calls optional may
        be left out, as long as an image remains.

        The array `nuclei` is a label image, as `data.nuclei.Nuclei.encode` makes it, and is never
        interpolated. Called from several threads at once. Raises `UnreadablePatch` with the reason
        where this patch cannot be used.
        """

    def shape(self, item: Item) -> tuple[int, int]:
        """Height and width in px, before any cutting. Raises `UnreadablePatch` as `read` does."""
        images = (array for array in self.read(item).values() if array.ndim == 3)
        height, width, _ = next(images).shape
        return height, width
