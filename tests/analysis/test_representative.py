"""Patches that represent their class."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from morefromless.analysis.representative import representative_patches, shown_patches
from morefromless.data.store import Store


def test_patch_nearest_to_the_mean_represents_its_class(tissue: Store) -> None:
    rng = np.random.default_rng(0)
    features = {
        split: rng.normal(size=(len(tissue.indices(split)), 4)) for split in ("train", "test")
    }
    frozen = SimpleNamespace(features=lambda _, split, __: torch.from_numpy(features[split]))
    answer: Any = SimpleNamespace(store=tissue, frozen=frozen)
    first = tissue.classes[0]
    absent = (tissue.table["label"] == first) & (tissue.table["split"] == "test")
    absent |= rng.random(len(absent)) < 0.3  # patches without another encoder's view
    table = tissue.table.assign(split=tissue.table["split"].mask(absent, None))
    store = Store(tissue.path, tissue.meta, table, tissue.arrays, tissue.present)
    expected = {}
    for split, values in features.items():
        vectors = dict(zip(tissue.indices(split), values, strict=True))
        for name in tissue.classes:
            rows = [row for row in store.indices(split) if table["label"][row] == name]
            if rows:
                mean = np.mean([vectors[row] for row in rows], axis=0)
                nearest = min(rows, key=lambda row: np.linalg.norm(vectors[row] - mean))
                expected[f"{split}: {name}"] = nearest
    assert representative_patches(answer, store, "cpu") == expected
    assert shown_patches(answer, store, "cpu", []) == expected
    assert f"train: {first}" in expected
    assert f"test: {first}" not in expected
    row = store.indices("test")[-1]
    patch, label = table["id"][row], table["label"][row]
    assert shown_patches(answer, store, "cpu", [patch]) == {f"{patch}: {label}": row}
