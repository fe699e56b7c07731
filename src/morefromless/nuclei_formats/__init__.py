"""Nuclei formats: file formats in which nuclei come. An open set.

Each member reads one file, one image's nuclei, and returns what stands there: which pixels belong
to which nucleus, and each one's type as the file gives it. What a type's name or number means is
the scheme's business (`morefromless.data.schemes`), which image a file belongs to is
`morefromless.ingest`'s. To add a format, add a file with one public class deriving from
`NucleiFormat`.
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

    `instances` (H, W) integers: 0 where there is no nucleus, else its id, any positive number.
    `types` maps an id to its type as the file gives it, in the file's order; None where the file
    has a nucleus and no type for it. `skipped` counts, by what they are, objects of the file that
    are no nuclei and were left out.
    """

    instances: npt.NDArray[np.int32]
    types: Mapping[int, RawType | None]
    skipped: Mapping[str, int] = field(default_factory=dict)


class NucleiFormat(ABC):
    """One file format."""

    suffixes: ClassVar[tuple[str, ...]]
    """File endings that this format has, in lower case, such as `.json`."""

    @classmethod
    @abstractmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a file with one of the suffixes is of this format; at most its head is read."""

    @abstractmethod
    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        """The nuclei of an image of `shape` (height, width) px.

        Called from several threads at once. Raises `UnreadablePatch` with a reason "kind: what;
        what to do" where the file cannot be used; nothing in the file is ever executed.
        """
