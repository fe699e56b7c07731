"""The index finds the same pairs of hashes as a comparison of all pairs."""

import numpy as np
import pytest

from morefromless.data import hash_index
from morefromless.data.hash_index import MAX_BITS, Hashes, HashIndex

SPREAD = np.array(
    [0x0007000700070001, 0x0007000700030003, 0x0007000300070003, 0xC000000700070003], np.uint64
)
"""Hashes with ten bits, spread over the four parts so that one part is just within its radius."""


def flipped(hashes: Hashes, most: int, rng: np.random.Generator) -> Hashes:
    """Flip up to `most` bits of each hash."""
    bits = np.stack([rng.permutation(64) for _ in hashes])
    changed = np.arange(64) < rng.integers(0, most + 1, len(hashes))[:, None]
    masks = np.where(changed, np.uint64(1) << bits.astype(np.uint64), np.uint64(0))
    return hashes ^ np.bitwise_or.reduce(masks, axis=1)


@pytest.mark.parametrize("parcel", [2**16, 100])
def test_pairs_are_those_of_comparing_all(parcel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_index, "PAIRS_PER_BLOCK", parcel)
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 600, np.uint64)
    hashes[:20] = 0  # all in one bucket of the tables
    asked = np.concatenate([flipped(hashes, 14, rng), hashes[:5], SPREAD])
    pairs = [
        (int(row), int(place))
        for rows, places in HashIndex(hashes).pairs(asked)
        for row, place in zip(rows, places, strict=True)
    ]
    differences = np.bitwise_count(asked[:, None] ^ hashes)
    assert pairs == [tuple(pair) for pair in np.argwhere(differences <= MAX_BITS).tolist()]
    assert len(pairs) >= 100


def test_nothing_is_near_to_nothing() -> None:
    none = np.empty(0, np.uint64)
    some = np.zeros(3, np.uint64)
    assert not list(HashIndex(some).pairs(none))
    assert [len(rows) for rows, _ in HashIndex(none).pairs(some)] == [0]
