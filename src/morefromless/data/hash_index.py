"""Find 64-bit hashes that differ in few bits, without comparing all pairs.

A hash has four parts of 16 bits. If two hashes differ in at most 10 bits, the first part differs in
at most one bit, or another part in at most two. So only pairs with such a part are compared: about
one pair in a hundred. (Norouzi, Punjani and Fleet 2012, Multi-index hashing.)
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.intp]

MAX_BITS = 10
"""Maximum number of differing bits of two hashes. Of 344 million pairs of different patches of two
public sets (colon, prostate; rotated and mirrored), 131 differ in at most this many bits."""
PART_VALUES = 2**16
"""Number of values of a part."""
RADII = 1, 2, 2, 2
"""Number of bits in which each part may differ. One more bit in every part gives 11, more than
`MAX_BITS`."""
QUERIES_PER_BLOCK = 256
"""Number of hashes looked up at a time."""
PAIRS_PER_BLOCK = 2**16
"""Number of pairs compared at a time, so that they stay in the CPU cache; a single hash may have
more."""


class HashIndex:
    """Index of hashes (N,) for the search of similar hashes."""

    def __init__(self, hashes: Hashes) -> None:
        parts = zip(_parts(hashes).T, RADII, strict=True)
        self._tables = [_Table(hashes, part, radius) for part, radius in parts]

    def pairs(self, queries: Hashes) -> Iterator[tuple[Rows, Rows]]:
        """Pairs (position in `queries` (M,), position in the index) of hashes that differ in at
        most `MAX_BITS` bits: each pair once, grouped by the hash in `queries`, in ascending order.

        >>> hashes = np.array([0, 7, 2**40 - 1], np.uint64)
        >>> [[part.tolist() for part in pair] for pair in HashIndex(hashes).pairs(hashes[:2])]
        [[[0, 0, 1, 1], [0, 1, 0, 1]]]
        """
        for first in range(0, len(queries), QUERIES_PER_BLOCK):
            block = queries[first : first + QUERIES_PER_BLOCK]
            parts = zip(self._tables, _parts(block).T, strict=True)
            pairs = [pair for table, part in parts for pair in table.pairs(block, part)]
            rows, positions = np.unique(np.concatenate(pairs, axis=1), axis=1)
            yield first + rows, positions


class _Table:
    """Hashes sorted by one of their parts."""

    def __init__(self, hashes: Hashes, part: npt.NDArray[np.uint16], radius: int) -> None:
        self.masks = _similar_masks(radius)
        self.order = np.argsort(part, kind="stable")
        self.hashes = hashes[self.order]
        self.starts = np.zeros(PART_VALUES + 1, np.intp)
        """Start of each value of the part in the sorted hashes."""
        np.cumsum(np.bincount(part, minlength=PART_VALUES), out=self.starts[1:])

    def pairs(
        self, queries: Hashes, part: npt.NDArray[np.uint16]
    ) -> Iterator[npt.NDArray[np.intp]]:
        """Pairs (2, K) of similar hashes, among those whose `part` is similar."""
        buckets = (part[:, None] ^ self.masks).astype(np.intp)
        begins = self.starts[buckets]
        counts = self.starts[buckets + 1] - begins
        totals = counts.sum(1)
        blocks = totals.cumsum() // PAIRS_PER_BLOCK
        for rows in np.split(np.arange(len(queries)), np.flatnonzero(np.diff(blocks)) + 1):
            count = counts[rows].ravel()
            ends = count.cumsum()
            position = np.arange(ends[-1]) + np.repeat(begins[rows].ravel() - ends + count, count)
            differences = np.repeat(queries[rows], totals[rows]) ^ self.hashes[position]
            similar = np.flatnonzero(np.bitwise_count(differences) <= MAX_BITS)
            row = rows[totals[rows].cumsum().searchsorted(similar, side="right")]
            yield np.stack([row, self.order[position[similar]]])


def _parts(hashes: Hashes) -> npt.NDArray[np.uint16]:
    """(N,) -> (N, 4)."""
    return np.ascontiguousarray(hashes).view(np.uint16).reshape(-1, len(RADII))


def _similar_masks(radius: int) -> npt.NDArray[np.uint16]:
    """All 16-bit masks with at most `radius` bits: the differences of similar parts.

    >>> len(_similar_masks(0)), len(_similar_masks(1)), len(_similar_masks(2))
    (1, 17, 137)
    """
    bits = [2**bit for bit in range(16)]
    subsets = (subset for count in range(radius + 1) for subset in combinations(bits, count))
    return np.array([sum(subset) for subset in subsets], np.uint16)
