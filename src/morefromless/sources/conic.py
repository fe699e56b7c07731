"""CoNIC: patches of colonic tissue with typed nuclei, in .npy files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless.data.arrays import open_npy
from morefromless.data.labels import UNLABELLED
from morefromless.data.masks import majority_types, to_int32
from morefromless.data.nuclei import NUCLEI_ARRAY, Nuclei
from morefromless.data.schemes import CONIC
from morefromless.errors import DataError
from morefromless.regular import read_bytes
from morefromless.sources import Datasheet, Item, Source


@dataclass(frozen=True)
class _Arrays:
    """`images` (N, H, W, 3) uint8 and `labels` (N, H, W, 2), both on disk; patch name -> row."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[Any]
    rows: dict[str, int]


class Conic(Source):
    """4,981 H&E patches of the colon, 256 x 256 px at 0.5 µm/px, with six types of nuclei.

    `PATH` holds images.npy, labels.npy (instance and type of each pixel) and patch_info.csv. Its
    column `patch_info` names each patch after the image that it was cut from. That image is the
    group, because patches of one image overlap: `consep_1-0000` is in the group `consep_1`. There
    are no tissue labels and no split.

    Graham et al. (2024), CoNIC Challenge, doi:10.1016/j.media.2023.103047, from Lizard.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).expanduser()

    def datasheet(self) -> Datasheet:
        return Datasheet(
            title="CoNIC",
            licence="CC BY-NC-SA 4.0",
            citation="Graham et al. (2024), doi:10.1016/j.media.2023.103047",
            um_per_px=0.5,
            scheme=CONIC,
        )

    def items(self) -> Sequence[Item]:
        return [
            Item(
                id=name,
                label=UNLABELLED,
                origin=f"images.npy[{row}]",
                group=name.rpartition("-")[0] or name,
            )
            for name, row in self._arrays.rows.items()
        ]

    def remarks(self) -> Sequence[str]:
        return [
            "Groups are the images that patches were cut from. Patients are not known, so images "
            "of one patient count as several groups, and intervals may be too narrow."
        ]

    def read(self, item: Item) -> dict[str, npt.NDArray[np.uint8]]:
        row = self._arrays.rows[item.id]
        instances, types = to_int32(np.moveaxis(self._arrays.labels[row], -1, 0), "the mask")
        nuclei = Nuclei.typed(instances, majority_types(instances, types), CONIC)
        return {"he": np.array(self._arrays.images[row]), NUCLEI_ARRAY: nuclei.encode()}

    def shape(self, item: Item) -> tuple[int, int]:  # noqa: ARG002
        return self._arrays.images.shape[1], self._arrays.images.shape[2]

    @cached_property
    def _arrays(self) -> _Arrays:
        """Opened by `items`, before threads call `read`."""
        images, labels = open_npy(self.path / "images.npy"), open_npy(self.path / "labels.npy")
        names = _names(self.path / "patch_info.csv")
        if (
            images.ndim != 4
            or images.shape[3] != 3
            or images.dtype != np.uint8
            or labels.shape != (*images.shape[:3], 2)
            or len(names) != len(images)
        ):
            raise DataError(
                f"{self.path} holds images {images.shape} {images.dtype}, labels {labels.shape} "
                f"and {len(names)} names; they should be (N, H, W, 3) uint8, (N, H, W, 2) and N; "
                "download it again."
            )
        return _Arrays(images, labels, {name: row for row, name in enumerate(names)})


def _names(path: Path) -> list[str]:
    """The unique names of the patches, in the order of the arrays."""
    try:
        table = pd.read_csv(BytesIO(read_bytes(path)), dtype=str, keep_default_na=False)
        names = table["patch_info"].tolist()
    except FileNotFoundError as error:
        raise DataError(
            f"There is no file {path}; it is needed to group patches by image. Add it."
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{path} is not a table with a column patch_info ({error}); fix the file."
        ) from error
    if len(set(names)) < len(names):
        raise DataError(f"{path} has two patches with the same name; every name must be unique.")
    return names
