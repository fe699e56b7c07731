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

MOST = 10
"""Maximum number of differing bits of two hashes. Of 344 million pairs of different patches of two
public sets (colon, prostate; rotated and mirrored), 131 differ in at most this many bits."""
VALUES = 2**16
"""Number of values of a part."""
RADII = 1, 2, 2, 2
"""Number of bits in which each part may differ. One more bit in every part gives 11, more than
`MOST`."""
BLOCK = 256
"""Number of hashes looked up at a time."""
PAIRS = 2**16
"""Number of pairs compared at a time, so that they stay in the CPU cache; a single hash may have
more."""


class HashIndex:
    """Index of hashes (N,) for the search of similar hashes."""

    def __init__(self, hashes: Hashes) -> None:
        parts = zip(_parts(hashes).T, RADII, strict=True)
        self._tables = [_Table(hashes, part, radius) for part, radius in parts]

    def pairs(self, asked: Hashes) -> Iterator[tuple[Rows, Rows]]:
        """Pairs (position in `asked` (M,), position in the index) of hashes that differ in at most
        `MOST` bits: each pair once, grouped by the hash in `asked`, in ascending order.

        >>> hashes = np.array([0, 7, 2**40 - 1], np.uint64)
        >>> [[part.tolist() for part in pair] for pair in HashIndex(hashes).pairs(hashes[:2])]
        [[[0, 0, 1, 1], [0, 1, 0, 1]]]
        """
        for first in range(0, len(asked), BLOCK):
            block = asked[first : first + BLOCK]
            parts = zip(self._tables, _parts(block).T, strict=True)
            pairs = [pair for table, part in parts for pair in table.pairs(block, part)]
            rows, places = np.unique(np.concatenate(pairs, axis=1), axis=1)
            yield first + rows, places


class _Table:
    """Hashes sorted by one of their parts."""

    def __init__(self, hashes: Hashes, part: npt.NDArray[np.uint16], radius: int) -> None:
        self.near = _near(radius)
        self.order = np.argsort(part, kind="stable")
        self.hashes = hashes[self.order]
        self.starts = np.zeros(VALUES + 1, np.intp)
        """Start of each value of the part in the sorted hashes."""
        np.cumsum(np.bincount(part, minlength=VALUES), out=self.starts[1:])

    def pairs(self, asked: Hashes, part: npt.NDArray[np.uint16]) -> Iterator[npt.NDArray[np.intp]]:
        """Pairs (2, K) of similar hashes, among those whose `part` is similar."""
        buckets = (part[:, None] ^ self.near).astype(np.intp)
        begins = self.starts[buckets]
        counts = self.starts[buckets + 1] - begins
        totals = counts.sum(1)
        parcels = totals.cumsum() // PAIRS
        for rows in np.split(np.arange(len(asked)), np.flatnonzero(np.diff(parcels)) + 1):
            count = counts[rows].ravel()
            ends = count.cumsum()
            place = np.arange(ends[-1]) + np.repeat(begins[rows].ravel() - ends + count, count)
            differences = np.repeat(asked[rows], totals[rows]) ^ self.hashes[place]
            close = np.flatnonzero(np.bitwise_count(differences) <= MOST)
            row = rows[totals[rows].cumsum().searchsorted(close, side="right")]
            yield np.stack([row, self.order[place[close]]])


def _parts(hashes: Hashes) -> npt.NDArray[np.uint16]:
    """(N,) -> (N, 4)."""
    return np.ascontiguousarray(hashes).view(np.uint16).reshape(-1, len(RADII))


def _near(radius: int) -> npt.NDArray[np.uint16]:
    """All 16-bit masks with at most `radius` bits: the differences of similar parts.

    >>> len(_near(0)), len(_near(1)), len(_near(2))
    (1, 17, 137)
    """
    bits = [2**bit for bit in range(16)]
    some = (few for count in range(radius + 1) for few in combinations(bits, count))
    return np.array([sum(few) for few in some], np.uint16)
