"""Choose patches that represent their class."""

from collections.abc import Sequence

import numpy as np

from morefromless.data.labels import UNLABELLED
from morefromless.data.store import Store
from morefromless.errors import DataError, near_names
from morefromless.evaluation.evaluate import Answer


def representative_patches(answer: Answer, store: Store, device: str) -> dict[str, int]:
    """For each class, the training patch and the test patch nearest to the mean of that class.

    Distances are between the encoder's representations. Returns title (`test: TUM`) to row of the
    store. The store is labelled, and all its patches in a split have the views of all encoders.
    """
    patches = {}
    for split in ("train", "test"):
        rows = answer.store.indices(split)
        features = answer.frozen.features(answer.store, split, device).numpy()
        shared = np.isin(rows, store.indices(split))
        for number, name in enumerate(store.classes):
            members = np.flatnonzero(shared & (store.labels[rows] == number))
            if len(members):
                offsets = features[members] - features[members].mean(axis=0)
                nearest = members[np.square(offsets).sum(axis=1).argmin()]
                patches[f"{split}: {name}"] = int(rows[nearest])
    return patches


def shown_patches(answer: Answer, store: Store, device: str, ids: Sequence[str]) -> dict[str, int]:
    """The patches with these ids; without ids, the patches that represent their class."""
    return named_patches(store, ids) if ids else representative_patches(answer, store, device)


def named_patches(store: Store, ids: Sequence[str]) -> dict[str, int]:
    """Map titles to rows for patches selected by id.

    Raises `DataError` if an id does not exist; the message suggests similar ids.
    """
    row_of = {str(name): row for row, name in enumerate(store.table["id"])}
    patches = {}
    for name in ids:
        if name not in row_of:
            similar_ids = near_names(name, row_of, 3, cutoff=0.5)
            hint = (
                f"did you mean {' or '.join(similar_ids)}?"
                if similar_ids
                else "patches.parquet lists them."
            )
            raise DataError(f"{store.path} has no patch '{name}'; {hint}")
        label = store.table["label"].iloc[row_of[name]] or UNLABELLED
        patches[f"{name}: {label}"] = row_of[name]
    return patches
