"""Hash of a patch's pixels, used to find equal patches and damaged stored patches."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xxhash


def patch_hash(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """XXH3 (128 bits) of a patch: name, shape and bytes of each array, in order of the names.

    >>> patch_hash({"he": np.zeros((8, 8, 3), np.uint8)})
    'xxh3:af2e6a3f24ab348fa8c5ae819516019a'
    """
    digest = xxhash.xxh3_128()  # blake2b would take a third of the ingest time
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return f"xxh3:{digest.hexdigest()}"


def first_damaged(
    arrays: Mapping[str, npt.NDArray[Any]], hashes: pd.Series, present: pd.DataFrame
) -> int | None:
    """The first row whose arrays (N, ...) do not match its hash; None if all match.

    Arrays that a patch does not have, according to `present`, must be zeros and are not hashed.
    """
    lacking = {str(name): (~present[name]).to_numpy() for name in present}
    for row, expected in enumerate(hashes):
        absent = [name for name in lacking if lacking[name][row]]
        patch = {name: arrays[name][row] for name in arrays if name not in absent}
        if patch_hash(patch) != expected or any(arrays[name][row].any() for name in absent):
            return row
    return None
