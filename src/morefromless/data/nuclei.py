"""Nuclei of a patch: the pixels and the type of each nucleus."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless.data.masks import most_common_values
from morefromless.data.schemes import UNTYPED, RawType, Scheme
from morefromless.errors import UnreadablePatch, first_few

NUCLEI_ARRAY = "nuclei"
"""Name of the array with label images, in a store or a source."""

MAX_NUCLEI = 2**15 - 1
"""Maximum number of nuclei of a patch or tile: their numbers take 15 bits in the store."""

BORDER_BIT = 0x80
"""Bit in the second channel that marks a piece of a nucleus that another patch counts."""


@dataclass(frozen=True)
class Nuclei:
    """The nuclei of one patch, in the order of their file.

    `instances` (H, W) int32: 0 for no nucleus, else 1 ... M. `types` (M,) uint8: the scheme's code
    of instance k is at k - 1. `counted` (M,) bool: false for pieces of nuclei that a neighbouring
    patch of the same tile counts.
    """

    instances: npt.NDArray[np.int32]
    types: npt.NDArray[np.uint8]
    counted: npt.NDArray[np.bool_]

    @property
    def areas(self) -> npt.NDArray[np.int64]:
        """(M,) pixels of each nucleus."""
        return np.bincount(self.instances.ravel(), minlength=len(self.types) + 1)[1:]

    @classmethod
    def typed(
        cls,
        instances: npt.NDArray[np.integer],
        raw_types: Mapping[int, RawType | None],
        scheme: Scheme,
    ) -> "Nuclei":
        """Create nuclei from an instance map with any positive ids and the raw type of each id.

        They are numbered in the order of `raw_types`. Raises `UnreadablePatch` for ids without a
        type, types without an instance, and types that are not in the scheme. With the scheme
        `untyped`, every nucleus has code 1.

        >>> from morefromless.data.schemes import PANNUKE
        >>> nuclei = Nuclei.typed(np.array([[7, 7, 0], [0, 3, 3]]), {7: "Dead", 3: 1}, PANNUKE)
        >>> nuclei.instances.tolist(), nuclei.types.tolist(), nuclei.areas.tolist()
        ([[1, 1, 0], [0, 2, 2]], [4, 1], [2, 2])
        """
        ids = np.unique(instances)
        ids = ids[ids != 0]
        if len(ids) and ids[0] < 0:
            raise UnreadablePatch(f"negative instance: id {ids[0]}; number nuclei from 1")
        if len(ids) > MAX_NUCLEI:
            raise UnreadablePatch(f"too many nuclei: {len(ids):,}; cut smaller tiles")
        if scheme == UNTYPED:
            raw_types = dict.fromkeys(raw_types, 1)
        named = [number for number, kind in raw_types.items() if kind is not None]
        untyped = sorted(set(ids.tolist()) - set(named))
        if untyped:
            raise UnreadablePatch(
                f"instance without a type: {first_few(untyped)}; give each id a type, or use "
                "--scheme untyped"
            )
        empty = sorted(set(raw_types) - set(ids.tolist()))
        if empty:
            raise UnreadablePatch(
                f"type without an instance: {first_few(empty)}; no pixel has this id"
            )
        codes = np.array(
            [scheme.code(kind) for kind in raw_types.values() if kind is not None], np.uint8
        )
        values = np.append(0, ids)  # 0 is missing in maps that nuclei cover completely
        renumbered = np.zeros(len(values), np.int32)
        renumbered[np.searchsorted(values, named)] = np.arange(1, len(named) + 1)
        indices = np.searchsorted(values, instances)
        return cls(renumbered[indices], codes, np.ones(len(codes), bool))

    def encode(self) -> npt.NDArray[np.uint8]:
        """Encode as (H, W, 3) uint8 for the store: type, then high and low byte of the instance.

        The encoding stays valid when the image is cropped or resized by nearest neighbour. The top
        bit of the high byte marks pieces that another patch counts.
        """
        numbers = np.append(0, np.arange(1, len(self.types) + 1)).astype(np.uint16)
        high = (numbers >> 8).astype(np.uint8)
        high[1:] |= np.where(self.counted, 0, BORDER_BIT).astype(np.uint8)
        lut = np.stack([np.append(0, self.types), high, numbers & 0xFF], -1).astype(np.uint8)
        coded: npt.NDArray[np.uint8] = lut[self.instances]
        return coded

    @classmethod
    def decode(cls, coded: npt.NDArray[np.uint8]) -> "Nuclei":
        """Decode the nuclei of an encoded image; they are renumbered in the same order."""
        marked, numbers = _numbers(coded)
        present = np.bincount(numbers.ravel(), minlength=1) > 0
        present[0] = False
        renumbered = (np.cumsum(present) * present).astype(np.int32)
        types, counted = np.zeros(len(present), np.uint8), np.zeros(len(present), bool)
        types[numbers] = coded[..., 0]  # all pixels of a nucleus have the same type
        counted[numbers] = ~marked
        return cls(renumbered[numbers], types[present], counted[present])


def assign_border_nuclei(coded: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Mark an encoded tile (H, W, 3) before it is cut into patches of `side` px from the top left.

    Border rule: a nucleus is drawn in every patch that contains some of its pixels, and counted in
    the patch that contains most of them (for ties, the first in reading order). So every nucleus of
    the tile is counted once, unless it lies completely outside the grid of whole patches.
    """
    _, numbers = _numbers(coded)
    rows, columns = (extent // side for extent in numbers.shape)
    inside = numbers[: rows * side, : columns * side]
    patch = (np.arange(rows * side) // side)[:, None] * columns + np.arange(columns * side) // side
    drawn = inside > 0
    nuclei, patches, _ = most_common_values(inside[drawn], patch[drawn])
    counting = np.zeros(MAX_NUCLEI + 1, np.int64)
    counting[nuclei] = patches
    border = drawn & (counting[inside] != patch)
    marked = coded.copy()
    marked[: rows * side, : columns * side, 1] |= np.where(border, BORDER_BIT, 0).astype(np.uint8)
    return marked


def nuclei_table(stored: npt.NDArray[np.uint8]) -> pd.DataFrame:
    """The nuclei of encoded patches (N, H, W, 3): one row each, in order of patch and number.

    Columns: `patch` (its row in the store), `type` (the scheme's code), `area` (px in this patch)
    and `counted` (false if a neighbouring patch of the same tile counts it).

    >>> from morefromless.data.schemes import PANNUKE
    >>> nuclei = Nuclei.typed(np.array([[1, 1], [0, 2]]), {1: 5, 2: 3}, PANNUKE)
    >>> nuclei_table(nuclei.encode()[None]).to_dict("list")
    {'patch': [0, 0], 'type': [5, 3], 'area': [2, 1], 'counted': [True, True]}
    """
    parts = []
    for coded in stored:
        nuclei = Nuclei.decode(np.asarray(coded))
        parts.append((nuclei.types, nuclei.areas, nuclei.counted))
    return pd.DataFrame(
        {
            "patch": np.repeat(np.arange(len(parts)), [len(types) for types, _, _ in parts]),
            "type": _joined([types for types, _, _ in parts], np.uint8),
            "area": _joined([areas for _, areas, _ in parts], np.int32),
            "counted": _joined([counted for _, _, counted in parts], np.bool_),
        }
    )


def _joined(parts: Sequence[npt.NDArray[Any]], kind: type) -> npt.NDArray[Any]:
    return np.concatenate([np.empty(0, kind), *parts]).astype(kind)


def _numbers(
    coded: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int32]]:
    """For each pixel: whether another patch counts its nucleus, and the number of the nucleus."""
    bits = (coded[..., 1].astype(np.int32) << 8) | coded[..., 2]
    return bits > MAX_NUCLEI, bits & MAX_NUCLEI
