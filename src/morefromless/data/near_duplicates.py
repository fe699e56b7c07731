"""Near-duplicates: patches of the same tissue whose pixels are not equal.

A copy that is re-encoded, brightened, resized, rotated or mirrored has a different pixel hash.
Here, 64-bit difference hashes of thumbnails select candidates, and the correlation of the
thumbnails decides. Copies that are shifted by more than about 1 % of the side are not recognised,
nor are patches without contrast, such as glass.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless.data.areas import area_weights
from morefromless.data.hash_index import Hashes, HashIndex, Rows
from morefromless.data.sharded import reading_order
from morefromless.progress import Bar

Floats = npt.NDArray[np.float32]

SIDE = 32
"""Side of a thumbnail in px."""
ORIENTATIONS = 8
"""Four rotations by 90°, each also mirrored."""
MIN_CORRELATION = 0.95
"""Minimum correlation of the thumbnails of near-duplicates.

The 131 candidate pairs of different patches of two sets (`hash_index.MAX_BITS`) reached 0.84 at
most. Copies as JPEG of quality 30, with another brightness, or with half the side were above 0.965.
Of copies with a half, a third and a seventh of the side (16 to 112 px), from these sets and NCT-
CRC, at least 98.5 % were found if `--resize` wrote them, and at least 96.9 % with other filters.
At 14 px and less, a few different patches in thousands also reach this correlation."""
MIN_CONTRAST = 0.01
"""Minimum contrast (standard deviation / mean) of a thumbnail; those with less are not compared."""
FULL_DETAIL = 2 * SIDE
"""Side in px of the smallest image that has all the detail of a thumbnail."""
BLOCK = 256
"""Number of thumbnails processed at a time, so that they stay in the CPU cache. All thumbnails
together may be a memory-mapped file."""


@dataclass(frozen=True)
class NearDuplicates:
    """The patches that have a near-duplicate among others, in ascending order."""

    rows: npt.NDArray[np.int64]
    """(M,) row of each patch."""
    others: npt.NDArray[np.int64]
    """(M,) row of the most similar one of the others."""
    correlations: Floats
    """(M,) correlation of the two thumbnails, the maximum over rotations and mirror images."""


def near_duplicates(patches: Floats, others: Floats) -> NearDuplicates:
    """Find near-duplicates of `patches` among `others`, thumbnails (N, 32, 32) and (M, 32, 32).

    20,000 against 80,000 take about 9 seconds on one core.

    >>> noise = np.random.default_rng(0).random((3, 32, 32), np.float32)
    >>> near_duplicates(noise[1:2, ::-1] * 0.01, noise).others.tolist()
    [1]
    """
    return _near_duplicates(patches, np.arange(len(patches)), others, np.arange(len(others)))


def _near_duplicates(
    patches: Floats, queries: Rows, others: Floats, candidates: Rows
) -> NearDuplicates:
    """`near_duplicates` of rows `queries` of `patches` and rows `candidates` of `others`."""
    rows, other_rows = _with_contrast(patches, queries), _with_contrast(others, candidates)
    index = HashIndex(_hashes(others, other_rows, 0))
    best = np.full(len(rows), -1, np.float32)
    nearest = np.zeros(len(rows), np.intp)
    total = ORIENTATIONS * len(rows)
    with Bar(desc="near-duplicates", total=total, unit=" patches", delay=2) as bar:
        for orientation in range(ORIENTATIONS):
            for row, position in index.pairs(_hashes(patches, rows, orientation)):
                for chunk in np.array_split(np.arange(len(row)), len(row) // BLOCK + 1):
                    turned = _unit(_reorient(patches[rows[row[chunk]]], orientation))
                    correlation = np.einsum(
                        "ij,ij->i", turned, _unit(others[other_rows[position[chunk]]])
                    )
                    order = np.lexsort((position[chunk], -correlation, row[chunk]))
                    first = order[np.unique(row[chunk][order], return_index=True)[1]]
                    better = first[correlation[first] > best[row[chunk][first]]]
                    best[row[chunk][better]] = correlation[better]
                    nearest[row[chunk][better]] = position[chunk][better]
            bar.update(len(rows))
    similar = best >= MIN_CORRELATION
    return NearDuplicates(rows[similar], other_rows[nearest[similar]], best[similar])


def near_duplicates_across_splits(small: Floats, table: pd.DataFrame) -> pd.DataFrame:
    """Patches of test and val that have a near-duplicate in train.

    Columns: id, label, split, train_id, train_label, correlation. `small` are the thumbnails
    (N, 32, 32) of the rows of `table`.
    """
    train = np.flatnonzero((table["split"] == "train").to_numpy())
    queries = np.flatnonzero(table["split"].isin(["val", "test"]).to_numpy())
    result = _near_duplicates(small, queries, small, train)
    patch, twin = (table.iloc[rows].reset_index(drop=True) for rows in (result.rows, result.others))
    named = patch[["id", "label", "split"]]
    return named.assign(
        train_id=twin["id"],
        train_label=twin["label"],
        correlation=result.correlations.astype(np.float64).round(3),
    )


def thumbnails(
    images: npt.NDArray[np.generic], rows: npt.NDArray[np.int64], detail: int = FULL_DETAIL
) -> Floats:
    """Compute the thumbnails of the given rows: (N, H, W, C) -> (len(rows), 32, 32)."""
    small = np.empty((len(rows), SIDE, SIDE), np.float32)
    for position in Bar(reading_order(images, rows), desc="thumbnails", unit=" patches", delay=2):
        small[position] = thumbnail(images[rows[position]], detail)
    return small


def thumbnail(image: npt.NDArray[np.generic], detail: int = FULL_DETAIL) -> Floats:
    """Means over areas and channels of an image: (H, H, C), uint8 or uint16 -> (32, 32).

    `detail` is the side in px of smaller images that it is compared with: the thumbnail is blurred
    to the detail of their thumbnails.

    >>> thumbnail(np.full((64, 64, 3), 7, np.uint8))[0, :2].tolist()
    [7.0, 7.0]
    """
    side, _, channels = image.shape
    step = side // SIDE
    blurred = detail < min(side, FULL_DETAIL) and detail != SIDE  # SIDE px have its detail
    if blurred or side % SIDE:
        weights = _weights(side, detail) if blurred else area_weights(side, SIDE, np.float32)
        lines = weights @ image.reshape(side, side * channels).astype(np.float32)
        return np.asarray(lines.reshape(SIDE, side, channels).mean(2) @ weights.T, np.float32)
    # Integer sums are exact. Summing lines in one call is three times as fast as a mean over three
    # axes.
    narrow = image.dtype == np.uint8 and step < 256
    lines = np.add.reduce(
        image.reshape(SIDE, step, side * channels), axis=1, dtype=np.uint16 if narrow else np.uint32
    )
    largest = 256**image.itemsize * step * step * channels
    floats = lines.astype(np.float32 if largest <= 2**24 else np.float64)
    areas = np.einsum("ijk->ij", floats.reshape(SIDE, SIDE, step * channels))
    return np.asarray(areas, np.float32) / np.float32(step * step * channels)


@lru_cache(maxsize=64)  # called for every patch
def _weights(side: int, detail: int) -> Floats:
    """Weights (32, side) of averages over `detail` parts of `side` pixels."""
    averages = area_weights(side, detail, np.float32)
    weights: Floats = area_weights(detail, SIDE, np.float32) @ averages
    return weights


def difference_hash(small: Floats) -> npt.NDArray[np.uint64]:
    """(N, 32, 32) -> (N,): whether brightness increases from left to right, at 8 x 8 positions."""
    rows, columns = (area_weights(SIDE, count, np.float32) for count in (8, 9))
    cells = rows @ small @ columns.T
    bits = (cells[:, :, 1:] > cells[:, :, :-1]).reshape(len(small), 64)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def _reorient(small: Floats, orientation: int) -> Floats:
    turned = np.rot90(small, orientation // 2, axes=(1, 2))
    return turned[:, :, ::-1] if orientation % 2 else turned


def _hashes(small: Floats, rows: Rows, orientation: int) -> Hashes:
    blocks = (difference_hash(_reorient(small[block], orientation)) for block in _blocks(rows))
    return np.concatenate([np.empty(0, np.uint64), *blocks])


def _with_contrast(small: Floats, rows: Rows) -> Rows:
    blocks = (block[_has_contrast(small[block])] for block in _blocks(rows))
    return np.concatenate([np.empty(0, np.intp), *blocks])


def _blocks(rows: Rows) -> Iterator[Rows]:
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]


def _has_contrast(small: Floats) -> npt.NDArray[np.bool_]:
    contrast: npt.NDArray[np.bool_] = small.std((1, 2)) > MIN_CONTRAST * small.mean((1, 2))
    return contrast


def _unit(small: Floats) -> Floats:
    """(N, 1024) with mean zero and length one, so that dot products are correlations."""
    flat = small.reshape(len(small), SIDE**2)
    flat = flat - flat.mean(1, keepdims=True)
    return np.asarray(flat / np.linalg.norm(flat, axis=1, keepdims=True), np.float32)
