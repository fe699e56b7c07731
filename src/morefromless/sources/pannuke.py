"""PanNuke: patches of 19 tissues with typed nuclei, in .npy files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from morefromless.data.arrays import open_npy
from morefromless.data.nuclei import NUCLEI_ARRAY, Nuclei
from morefromless.data.pannuke_masks import CHANNELS, merge_channels
from morefromless.data.schemes import PANNUKE
from morefromless.data.splits import Split
from morefromless.errors import ConfigError, DataError, UnreadablePatch
from morefromless.sources import Datasheet, Item, Source


@dataclass(frozen=True)
class _Fold:
    """`images` (N, H, W, 3) and `masks` (N, H, W, 6), both on disk, and `tissues` (N,)."""

    images: npt.NDArray[Any]
    masks: npt.NDArray[Any]
    tissues: list[str]


class Pannuke(Source):
    """7,901 H&E patches of 19 tissues, 256 x 256 px at 0.25 µm/px, with some 190,000 nuclei.

    `PATH` is one fold or a folder of folds. Every `images.npy` below it is a fold; folds are
    sorted by path. `types.npy` is in the same folder. `masks.npy` is in the same folder or, as
    published, in `../../masks/NAME/`, where NAME is the name of that folder. With several folds,
    fold number `test` (from 1; default: the last) is the test split, and the others are train. A
    single fold is not split. Labels are tissues. The files do not identify patients, so patches of
    one patient may be in several folds. Float images are accepted if they hold only whole numbers
    from 0 to 255.

    Gamper et al. (2020), PanNuke Dataset Extension, arXiv:2003.10778; CC BY-NC-SA 4.0.
    """

    def __init__(self, path: str, test: int | None = None) -> None:
        self.path = Path(path).expanduser()
        self.test = test

    def datasheet(self) -> Datasheet:
        return Datasheet(
            title="PanNuke",
            licence="CC BY-NC-SA 4.0",
            citation="Gamper et al. (2020), arXiv:2003.10778",
            um_per_px=0.25,
            scheme=PANNUKE,
        )

    def items(self) -> Sequence[Item]:
        number = len(self._folds)
        if self.test is not None and not 1 <= self.test <= number:
            raise ConfigError(
                f"pannuke:test={self.test} is not one of the folds found; use 1 to {number}."
            )
        test = self.test or number
        splits: list[Split | None] = ["train"] * number if number > 1 else [None]
        if number > 1:
            splits[test - 1] = "test"
        return [
            Item(
                id=(PurePath(name) / str(row)).as_posix(),
                label=tissue,
                origin=f"{(PurePath(name) / 'images.npy').as_posix()}[{row}]",
                split=split,
            )
            for split, (name, fold) in zip(splits, self._folds.items(), strict=True)
            for row, tissue in enumerate(fold.tissues)
        ]

    def read(self, item: Item) -> dict[str, npt.NDArray[np.uint8]]:
        fold, row = self._locate(item)
        stored = fold.images[row]
        # The cast changes values that uint8 cannot hold, including NaN, so the comparison rejects
        # them.
        with np.errstate(invalid="ignore"):
            image = stored.astype(np.uint8)
        if not (image == stored).all():
            raise UnreadablePatch(
                "colours out of range: not all are whole numbers from 0 to 255; convert them"
            )
        nuclei = Nuclei.typed(*merge_channels(fold.masks[row], "the mask"), PANNUKE)
        return {"he": image, NUCLEI_ARRAY: nuclei.encode()}

    def shape(self, item: Item) -> tuple[int, int]:
        fold, _ = self._locate(item)
        return fold.images.shape[1], fold.images.shape[2]

    def _locate(self, item: Item) -> tuple[_Fold, int]:
        where = PurePath(item.id)
        return self._folds[where.parent.as_posix()], int(where.name)

    @cached_property
    def _folds(self) -> dict[str, _Fold]:
        """Folder below `path` -> fold. Opened by `items`, before threads call `read`."""
        files = sorted(self.path.rglob("images.npy"))
        if not files:
            raise DataError(f"{self.path} holds no images.npy; check the path.")
        return {
            images.parent.relative_to(self.path).as_posix(): _fold(images.parent)
            for images in files
        }


def _fold(folder: Path) -> _Fold:
    same_folder = folder / "masks.npy"
    published_masks = folder.parent.parent / "masks" / folder.name / "masks.npy"
    images = open_npy(folder / "images.npy")
    masks = open_npy(
        published_masks if published_masks.is_file() and not same_folder.is_file() else same_folder
    )
    tissues = open_npy(folder / "types.npy")
    if (
        images.ndim != 4
        or images.shape[3] != 3
        or masks.shape != (*images.shape[:3], CHANNELS)
        or tissues.shape != images.shape[:1]
        or tissues.dtype.kind != "U"
    ):
        raise DataError(
            f"{folder} holds images {images.shape}, masks {masks.shape} and types {tissues.shape} "
            f"{tissues.dtype}; they should be (N, H, W, 3), (N, H, W, {CHANNELS}) and (N,) text; "
            "download it again."
        )
    return _Fold(images, masks, tissues.tolist())
