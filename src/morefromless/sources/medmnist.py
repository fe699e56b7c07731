"""MedMNIST: small images in one npz file."""

import re
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from morefromless.data.labels import NCT_CRC
from morefromless.data.npz import read_npz
from morefromless.data.splits import Split
from morefromless.errors import DataError
from morefromless.sources import Datasheet, Item, Source

_KEY = re.compile(r"(train|val|test)_(images|labels)")
_Array: TypeAlias = npt.NDArray[Any]
_Labelled: TypeAlias = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
PATHMNIST = tuple(NCT_CRC)


class Medmnist(Source):
    """An npz file with SPLIT_images and SPLIT_labels for any of the splits train, val and test.

    Images are uint8, (N, H, W, 3) or grey (N, H, W); grey is repeated in three channels. Labels
    are integers, (N,) or (N, 1). Class names are these numbers. If the file name begins with
    pathmnist, class names are those of NCT-CRC-HE, from which PathMNIST was made. All arrays are
    in memory during the ingest.

    Yang et al. (2023), MedMNIST v2, doi:10.1038/s41597-022-01721-8; PathMNIST is CC BY 4.0.
    """

    fork_safe = True

    def __init__(self, path: str) -> None:
        self.path = Path(path).expanduser()
        self.is_pathmnist = self.path.stem.lower().startswith("pathmnist")

    def datasheet(self) -> Datasheet:
        numbers = sorted({int(v) for _, labels in self._arrays.values() for v in np.unique(labels)})
        if not self.is_pathmnist:
            return Datasheet(title=self.path.stem, classes={str(n): "" for n in numbers})
        side = next(iter(self._arrays.values()))[0].shape[1]
        return Datasheet(
            title="PathMNIST",
            licence="CC BY 4.0",
            citation="Yang et al. (2023), doi:10.1038/s41597-022-01721-8",
            um_per_px=0.5 * 224 / side,  # the originals are 224 px at 0.5 um/px
            classes=NCT_CRC,
        )

    def items(self) -> list[Item]:
        return [
            Item(
                id=f"{split}-{row}",
                label=self._class(int(label)),
                origin=f"{self.path.name}:{split}_images[{row}]",
                split=split,
            )
            for split, (_, labels) in self._arrays.items()
            for row, label in enumerate(labels)
        ]

    def read(self, item: Item) -> dict[str, npt.NDArray[np.uint8]]:
        split, _, row = item.id.partition("-")
        image = self._arrays[cast(Split, split)][0][int(row)]
        return {"he": image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)}

    def _class(self, label: int) -> str:
        if not self.is_pathmnist:
            return str(label)
        if label not in range(len(PATHMNIST)):
            raise DataError(
                f"{self.path} has label {label}, but labels of PathMNIST are 0 to 8; rename the "
                "file if it is another data set."
            )
        return PATHMNIST[label]

    @cached_property
    def _arrays(self) -> dict[Split, _Labelled]:
        """Split -> images and labels. Loaded by `items`, before threads call `read`."""
        if not self.path.is_file():
            raise DataError(f"There is no file {self.path}; check the path.")
        try:
            arrays, names = read_npz(self.path, _KEY)
        except (OSError, ValueError) as problem:
            raise DataError(
                f"{self.path} cannot be read as an npz file of plain arrays ({problem}); "
                "download it again."
            ) from problem
        splits: dict[Split, _Labelled] = {
            split: self._checked(split, arrays[f"{split}_images"], arrays[f"{split}_labels"])
            for split in get_args(Split)
            if f"{split}_images" in arrays and f"{split}_labels" in arrays
        }
        if not splits:
            raise DataError(
                f"{self.path} holds {', '.join(names) or 'no arrays'}; it needs SPLIT_images and "
                "SPLIT_labels for at least one of train, val and test."
            )
        return splits

    def _checked(self, split: str, images: _Array, labels: _Array) -> _Labelled:
        where = f"{self.path}: {split}_images {images.shape} {images.dtype}"
        if images.dtype != np.uint8 or not (images.ndim == 3 or images.shape[3:] == (3,)):
            raise DataError(f"{where} should be uint8, (N, H, W, 3) or (N, H, W); convert it.")
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
            raise DataError(
                f"{where} needs one integer per image in {split}_labels, which is "
                f"{labels.shape} {labels.dtype}; several labels per image are not supported."
            )
        return images, labels.astype(np.int64)
