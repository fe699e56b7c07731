"""Export of a store's nuclei to files that other programs open."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless.data.areas import nearest_pixels
from morefromless.data.geojson import geojson_paths, is_foreign, write_geojson
from morefromless.data.nuclei import BORDER_BIT, NUCLEI_ARRAY, Nuclei
from morefromless.data.store import Store
from morefromless.data.store_files import CORNER
from morefromless.errors import DataError
from morefromless.progress import Bar

EncodedNuclei = npt.NDArray[np.uint8]


def export_geojson(store: Store, folder: Path) -> int:
    """Write one `IMAGE.geojson` below `folder` for each source image, in that image's pixels;
    return their number.

    The patches of an image that was cut are merged again, so a nucleus that a border cuts is whole,
    except for parts in rejected patches. QuPath opens the files on the images.
    `mfl ingest ... --nuclei FOLDER` reads them back with the same nuclei, types and pixels. Raises
    `DataError` before anything is written if the store has no nuclei, if two images would write the
    same file, if an image's name would write outside the folder, if a file exists that this
    function did not write, or if patches were resized and their original size is unknown (no scale
    and no cut).
    """
    scheme, array = store.scheme, store.array(NUCLEI_ARRAY)
    corners = _corners(store.table)
    images: dict[str, list[int]] = {}
    for row, (name, x, y) in enumerate(zip(store.table["id"], *corners.T, strict=True)):
        images.setdefault(name.removesuffix(f"_x{x}_y{y}"), []).append(row)
    paths = geojson_paths(list(images), folder)
    foreign = next((p for p, name in zip(paths, images, strict=True) if is_foreign(p, name)), None)
    if foreign is not None:
        raise DataError(
            f"{foreign} exists and was not written by this command; choose another folder."
        )
    sides = _sides(store, corners)
    work = list(zip(images.items(), paths, strict=True))
    for (name, rows), path in Bar(work, desc="export", unit=" images"):
        image = merge_patches(
            [np.asarray(array[row]) for row in rows], corners[rows], sides[rows[0]]
        )
        write_geojson(Nuclei.decode(image), scheme, path, name=name)
    return len(images)


def merge_patches(
    patches: Sequence[EncodedNuclei], corners: npt.NDArray[np.int64], side: int
) -> EncodedNuclei:
    """Merge encoded patches (H, H, 3) of one image to an array (height, width, 3).

    `corners` (N, 2) are the patches' x and y in the image; each patch covers `side` px. A nucleus
    has the same number in all patches that it overlaps, and counts in the whole image.
    """
    width, height = corners.max(0) + side
    image = np.zeros((height, width, 3), np.uint8)
    for patch, (x, y) in zip(patches, corners.tolist(), strict=True):
        nearest = nearest_pixels(len(patch), side)
        image[y : y + side, x : x + side] = patch[nearest[:, None], nearest]
    if len(patches) > 1:
        image[..., 1] &= 0xFF ^ BORDER_BIT
    return image


def _corners(table: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return (N, 2) x and y of each patch in its image; zero if the patch is the whole image."""
    if not set(CORNER) <= set(table):
        return np.zeros((len(table), 2), np.int64)
    return table[list(CORNER)].fillna(0).to_numpy(np.int64)


def _sides(store: Store, corners: npt.NDArray[np.int64]) -> list[int]:
    """Return the side of each patch in pixels of its image, before any resizing."""
    side, count = int(store.array(NUCLEI_ARRAY).shape[1]), len(corners)
    provenance = store.meta.provenance
    if not provenance.get("resize"):
        return [side] * count
    um_per_px: Any = provenance.get("um_per_px") or store.meta.datasheet.um_per_px
    if um_per_px:
        ratios = store.table["um_per_px"].to_numpy(float) / um_per_px
        sides: list[int] = np.rint(side * ratios).astype(int).tolist()
        return sides
    cut = int(np.gcd.reduce(corners.ravel()))
    if not cut:
        raise DataError(
            f"{store.path} was resized, and its magnification, which would give the original size, "
            "is unknown; ingest again with --um-per-px."
        )
    return [cut] * count
