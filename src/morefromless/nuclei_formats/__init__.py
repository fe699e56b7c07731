"""Nuclei formats: readers of file formats for segmented nuclei.

Each format reads one file with the nuclei of one image. It returns which pixels belong to which
nucleus, and the type of each nucleus as given in the file. Schemes (`morefromless.data.schemes`)
define the meaning of a type's name or number; `morefromless.ingest` assigns files to images. To add
a format, add a file with one public class that derives from `NucleiFormat`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from morefromless.data.schemes import RawType


@dataclass(frozen=True)
class TypedInstances:
    """The content of one file.

    `instances` (H, W) integers: 0 for background, else the id of the nucleus, any positive number.
    `types` maps an id to its type as given in the file, in the file's order; None for a nucleus
    without a type. `skipped` counts skipped objects that are not nuclei, by kind.
    """

    instances: npt.NDArray[np.int32]
    types: Mapping[int, RawType | None]
    skipped: Mapping[str, int] = field(default_factory=dict)


class NucleiFormat(ABC):
    """One file format."""

    suffixes: ClassVar[tuple[str, ...]]
    """File endings of this format, in lower case, such as `.json`."""

    @classmethod
    @abstractmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a file with one of the suffixes has this format; reads at most its head."""

    @abstractmethod
    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        """Read the nuclei of an image of `shape` (height, width) px.

        Must be thread-safe, and must never execute code from the file. Raises `UnreadablePatch`
        with a reason "kind: what; what to do" if the file cannot be used.
        """
