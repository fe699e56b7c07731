"""The index finds the same pairs of hashes as a comparison of all pairs."""

import numpy as np
import pytest

from morefromless.data import hash_index
from morefromless.data.hash_index import MAX_BITS, Hashes, HashIndex

SPREAD = np.array(
    [0x0007000700070001, 0x0007000700030003, 0x0007000300070003, 0xC000000700070003], np.uint64
)
"""Hashes with ten bits, spread over the four parts so that one part is just within its radius."""


def flipped(hashes: Hashes, max_flips: int, rng: np.random.Generator) -> Hashes:
    """Flip up to `max_flips` bits of each hash."""
    bits = np.stack([rng.permutation(64) for _ in hashes])
    changed = np.arange(64) < rng.integers(0, max_flips + 1, len(hashes))[:, None]
    masks = np.where(changed, np.uint64(1) << bits.astype(np.uint64), np.uint64(0))
    return hashes ^ np.bitwise_or.reduce(masks, axis=1)


@pytest.mark.parametrize("block_size", [2**16, 100])
def test_pairs_equal_those_of_a_full_comparison(
    block_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_index, "PAIRS_PER_BLOCK", block_size)
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 600, np.uint64)
    hashes[:20] = 0  # all in one bucket of the tables
    queries = np.concatenate([flipped(hashes, 14, rng), hashes[:5], SPREAD])
    pairs = [
        (int(row), int(column))
        for rows, columns in HashIndex(hashes).pairs(queries)
        for row, column in zip(rows, columns, strict=True)
    ]
    differences = np.bitwise_count(queries[:, None] ^ hashes)
    assert pairs == [tuple(pair) for pair in np.argwhere(differences <= MAX_BITS).tolist()]
    assert len(pairs) >= 100


def test_empty_inputs_have_no_pairs() -> None:
    empty = np.empty(0, np.uint64)
    hashes = np.zeros(3, np.uint64)
    assert not list(HashIndex(hashes).pairs(empty))
    assert [len(rows) for rows, _ in HashIndex(empty).pairs(hashes)] == [0]
