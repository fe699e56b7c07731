"""Sheets: many small pictures packed into few files. A page loads only the sheets it shows."""

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from morefromless import files

COLUMNS = 8
"""Number of rows and columns of a sheet; places without a picture are black."""
GUTTER = 1
"""Width in px of the border around each picture, which repeats its edge. It keeps neighbours from
mixing when a browser scales, or when WebP stores one colour per 2 x 2 pixels."""
_QUALITY, _EFFORT = 80, 2
"""Parameters of WebP; more effort than 2 of 6 saves 2 % of the bytes and takes twice the time."""


def pack(name: str, pictures: npt.NDArray[np.uint8], folder: Path) -> list[str]:
    """Write (P, T, T, 3) pictures as `NAME-000.webp`, `NAME-001.webp` ... and return these names.

    Picture p is on sheet p // 64, whose places are counted row by row.
    """
    names: list[str] = []
    for start in range(0, len(pictures), COLUMNS**2):
        names.append(f"{name}-{len(names):03}.webp")
        with files.replacing(folder / names[-1]) as temporary:
            Image.fromarray(_sheet(pictures[start : start + COLUMNS**2])).save(
                temporary, format="webp", quality=_QUALITY, method=_EFFORT
            )
    return names


def remove_others(folder: Path, names: Collection[str], current: Collection[str]) -> None:
    """Remove the sheets of `names` that are not in `current`: those of an earlier call."""
    ours = re.compile(rf"({'|'.join(map(re.escape, names))})-\d{{3,}}\.webp")
    for path in folder.glob("*.webp"):
        if ours.fullmatch(path.name) and path.name not in current:
            path.unlink()


def _sheet(pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    around = (GUTTER, GUTTER)
    padded = np.pad(pictures, ((0, 0), around, around, (0, 0)), mode="edge")
    pitch = padded.shape[1]
    places = np.zeros((COLUMNS**2, pitch, pitch, 3), np.uint8)
    places[: len(padded)] = padded
    side = COLUMNS * pitch
    grid = places.reshape(COLUMNS, COLUMNS, pitch, pitch, 3)
    return grid.transpose(0, 2, 1, 3, 4).reshape(side, side, 3)
