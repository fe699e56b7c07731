"""Patches that stand for their class."""

import difflib
from collections.abc import Sequence

import numpy as np

from morefromless.analysis.judged import Judged
from morefromless.data.store import Store
from morefromless.errors import DataError


def representative(one: Judged, store: Store, device: str) -> dict[str, int]:
    """Of training and of test patches, of each class the one nearest to its class's mean.

    Nearness is in the encoder's representation. Title (`test: TUM`) to row of the store, which is
    labelled and has no patches in a split that some encoder cannot see.
    """
    found = {}
    for split in ("train", "test"):
        own = one.sight.store.indices(split)
        features = one.features(split, device)
        wanted = np.isin(own, store.indices(split))
        for number, name in enumerate(store.classes):
            mine = np.flatnonzero(wanted & (store.labels[own] == number))
            if len(mine):
                apart = features[mine] - features[mine].mean(axis=0)
                found[f"{split}: {name}"] = int(own[mine[np.square(apart).sum(axis=1).argmin()]])
    return found


def named(store: Store, ids: Sequence[str]) -> dict[str, int]:
    """Title to row of patches named by their ids.

    Raises `DataError` for one that is not there, with near ones.
    """
    known = {str(name): row for row, name in enumerate(store.table["id"])}
    found = {}
    for name in ids:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else "patches.parquet lists them."
            raise DataError(f"{store.path} has no patch '{name}'; {hint}")
        found[f"{name}: {store.classes[store.labels[known[name]]]}"] = known[name]
    return found
