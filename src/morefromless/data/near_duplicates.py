"""Near-duplicates: patches of the same tissue whose pixels are not equal.

A copy that was encoded again, made brighter, resized, turned or mirrored has another hash of its
pixels. Here 64-bit difference hashes of thumbnails name candidates, and the correlation of the
thumbnails decides. Copies that are shifted by more than about 1 % of the side are not recognised,
nor are patches without contrast, such as glass.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless.data.sharded import reading_order
from morefromless.progress import Bar

Floats = npt.NDArray[np.float32]

SIDE = 32
"""Px of a thumbnail."""
BITS = 10
"""Of 64, that hashes of a candidate may differ in. Of 344 million pairs of unlike patches of two
public sets (colon, prostate; turned and mirrored), 131 differ in so few."""
CORRELATION = 0.95
"""Of thumbnails, from which on candidates are near-duplicates. Of those 131 pairs it reached 0.84;
of a copy as JPEG of quality 30, of other brightness, or of half the pixels it was above 0.965."""
CONTRAST = 0.01
"""Standard deviation of a thumbnail as a share of its mean; those with less are not compared."""
BLOCK = 2**17
"""Pairs that are compared at a time, which stay in a cache."""


@dataclass(frozen=True)
class NearDuplicates:
    """Which of some patches have a near-duplicate among others, in ascending order."""

    rows: npt.NDArray[np.int64]
    """(M,) of the patches."""
    others: npt.NDArray[np.int64]
    """(M,) of the other one that is most alike."""
    correlations: Floats
    """(M,) of the two thumbnails, the best over turns and mirror images."""


def near_duplicates(patches: Floats, others: Floats) -> NearDuplicates:
    """Near-duplicates of `patches` among `others`, thumbnails (N, 32, 32) and (M, 32, 32).

    100,000 against 100,000 take about a minute on one core.

    >>> noise = np.random.default_rng(0).random((3, 32, 32), np.float32)
    >>> near_duplicates(noise[1:2, ::-1] * 0.5, noise).others.tolist()
    [1]
    """
    sound, other_rows = (np.flatnonzero(_has_contrast(these)) for these in (patches, others))
    patches, others = patches[sound], others[other_rows]
    hashes, units = difference_hash(others), _unit(others)
    best = np.full(len(patches), -1, np.float32)
    nearest = np.zeros(len(patches), np.int64)
    step = max(1, BLOCK // max(1, len(others)))
    total = 8 * len(patches)
    with Bar(desc="near-duplicates", total=total, unit=" patches", delay=2) as bar:
        for turned in _orientations(patches):
            turned_hashes, turned_units = difference_hash(turned), _unit(turned)
            for start in range(0, len(patches), step):
                block = turned_hashes[start : start + step, None]
                alike = np.bitwise_count(block ^ hashes) <= BITS
                bar.update(len(block))
                if not alike.any():
                    continue
                rows, columns = (np.flatnonzero(alike.any(axis)) for axis in (1, 0))
                correlations = turned_units[start + rows] @ units[columns].T
                correlations[~alike[np.ix_(rows, columns)]] = -1
                place = correlations.argmax(1)
                value = correlations[np.arange(len(rows)), place]
                better = value > best[start + rows]
                best[start + rows[better]] = value[better]
                nearest[start + rows[better]] = columns[place[better]]
    chosen = best >= CORRELATION
    return NearDuplicates(sound[chosen], other_rows[nearest[chosen]], best[chosen])


def near_duplicates_across_splits(small: Floats, table: pd.DataFrame) -> pd.DataFrame:
    """Patches of test and val that have a near-duplicate in train: id, label, split, train_id,
    train_label, correlation.

    `small` are the thumbnails (N, 32, 32) of the rows of `table`; no row has none of these
    columns.
    """
    train = np.flatnonzero((table["split"] == "train").to_numpy())
    asked = np.flatnonzero(table["split"].isin(["val", "test"]).to_numpy())
    result = near_duplicates(small[asked], small[train])
    patch, twin = (
        table.iloc[rows].reset_index(drop=True)
        for rows in (asked[result.rows], train[result.others])
    )
    named = patch[["id", "label", "split"]]
    return named.assign(
        train_id=twin["id"],
        train_label=twin["label"],
        correlation=result.correlations.astype(np.float64).round(3),
    )


def thumbnails(images: npt.NDArray[np.generic], rows: npt.NDArray[np.int64]) -> Floats:
    """`thumbnail` of some images: (N, H, W, C) -> (len(rows), 32, 32)."""
    small = np.empty((len(rows), SIDE, SIDE), np.float32)
    with Bar(desc="thumbnails", total=len(rows), unit=" patches", delay=2) as bar:
        for place in reading_order(images, rows):
            small[place] = thumbnail(images[rows[place]])
            bar.update()
    return small


def thumbnail(image: npt.NDArray[np.generic]) -> Floats:
    """Means over areas and channels of an image: (H, H, C), any unsigned integers -> (32, 32).

    >>> thumbnail(np.full((64, 64, 3), 7, np.uint8))[0, :2].tolist()
    [7.0, 7.0]
    """
    side, _, channels = image.shape
    step = side // SIDE
    if side % SIDE:
        weights = area_weights(side, SIDE)
        lines = weights @ image.reshape(side, side * channels).astype(np.float32)
        return np.asarray(lines.reshape(SIDE, side, channels).mean(2) @ weights.T, np.float32)
    # Sums are exact, and of lines in one call: three times as fast as a mean over three axes.
    narrow = image.dtype == np.uint8 and step < 256
    lines = np.add.reduce(
        image.reshape(SIDE, step, side * channels), axis=1, dtype=np.uint16 if narrow else np.uint32
    )
    largest = 256**image.itemsize * step * step * channels
    floats = lines.astype(np.float32 if largest <= 2**24 else np.float64)
    areas = np.einsum("ijk->ij", floats.reshape(SIDE, SIDE, step * channels))
    return np.asarray(areas, np.float32) / np.float32(step * step * channels)


def difference_hash(small: Floats) -> npt.NDArray[np.uint64]:
    """(N, 32, 32) -> (N,) whether brightness rises from left to right, at 8 x 8 places."""
    cells = area_weights(SIDE, 8) @ small @ area_weights(SIDE, 9).T
    bits = (cells[:, :, 1:] > cells[:, :, :-1]).reshape(len(small), 64)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


@lru_cache(maxsize=8)
def area_weights(side: int, size: int) -> Floats:
    """(size, side) matrix of the means over `size` equal parts of `side` px.

    >>> area_weights(4, 2).tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    left = np.arange(size)[:, None] * side / size
    pixel = np.arange(side)
    inside = np.minimum(left + side / size, pixel + 1) - np.maximum(left, pixel)
    return (inside.clip(min=0) * size / side).astype(np.float32)


def _orientations(small: Floats) -> Iterator[Floats]:
    for quarter in range(4):
        turned = np.rot90(small, quarter, axes=(1, 2))
        yield turned
        yield turned[:, :, ::-1]


def _has_contrast(small: Floats) -> npt.NDArray[np.bool_]:
    contrast: npt.NDArray[np.bool_] = small.std((1, 2)) > CONTRAST * small.mean((1, 2))
    return contrast


def _unit(small: Floats) -> Floats:
    """(N, 1024) of mean zero and length one, so that products are correlations."""
    flat = small.reshape(len(small), SIDE**2)
    flat = flat - flat.mean(1, keepdims=True)
    return np.asarray(flat / np.linalg.norm(flat, axis=1, keepdims=True), np.float32)
