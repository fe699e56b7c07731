"""Hold-out store for model selection: the training patches, part of which become the test split.

Patches of one slide look alike, and the slide of a patch is often unknown. A random split puts
patches of one slide on both sides, which favours models that memorise slides. This module clusters
patches by colour and holds out whole clusters.
"""

import os
import shutil
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.cluster import KMeans

from morefromless import files
from morefromless.data.sharded import reading_order
from morefromless.data.splits import by_group
from morefromless.data.store import Store
from morefromless.data.store_files import content_hash
from morefromless.data.store_meta import FileFacts
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.floors import colour_histogram
from morefromless.progress import Bar

Ints = npt.NDArray[np.int64]


def write_hold_out_store(
    store: Store, out: Path, *, share: float = 0.2, clusters: int = 50, seed: int = 0
) -> Store:
    """Write a store to `out` with the training patches of `store`, part of them in its test split.

    Whole groups are held out if groups are known, else whole clusters of similar colours. The new
    store does not contain the test patches of `store`, so model selection on it never uses them.
    Raises `ConfigError` if `out` exists, `DataError` if there are no training patches or a class
    would be on one side only.
    """
    if out.exists():
        raise ConfigError(f"{out} exists already; give another folder, or remove it.")
    rows = store.indices("train")
    if not len(rows):
        raise DataError(f"{store.path} has no training patches; give a store that has some.")
    groups = store.groups("train")
    if groups is None:
        groups = colour_clusters(store, rows, clusters, seed).astype(str).astype(object)
    labels = store.table["label"].to_numpy(dtype=object)[rows]
    try:
        held_out = by_group([*labels], [*groups], share, seed)
    except DataError as error:
        raise DataError(
            f"No hold-out of {store.path} has every class on both sides; give more "
            f"--clusters, another --share or another --seed."
        ) from error
    partial = out.with_name(f"{out.name}.partial")
    with files.raising_storage_errors(out):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _write(store, rows, held_out, partial)
        os.replace(partial, out)
    return Store.open(out)


def colour_clusters(store: Store, rows: Ints, clusters: int, seed: int) -> Ints:
    """Cluster patches at `rows` by k-means on the square roots of colour histograms: (N,).

    The square roots make the distance the Hellinger distance. Raises `ConfigError` if there are
    more clusters than patches, `DataError` if the store has no RGB images.
    """
    if clusters > len(rows):
        raise ConfigError(
            f"--clusters {clusters} is more than the {len(rows)} training patches; give fewer."
        )
    arrays = store.arrays.values()
    rgb = [a for a in arrays if a.ndim == 4 and a.shape[3] == 3 and a.dtype == np.uint8]
    if not rgb:
        raise DataError(
            f"{store.path} has no RGB images to cluster by their colours, and its groups are not "
            "known; ingest it again with --group."
        )
    histograms = np.sqrt(colour_histogram(rgb[0], rows))
    cluster = KMeans(clusters, n_init=1, random_state=seed).fit_predict(histograms)
    return np.asarray(cluster, dtype=np.int64)


def _write(store: Store, rows: Ints, held_out: npt.NDArray[np.bool_], folder: Path) -> None:
    """Write arrays, tables and `meta.json` of the patches at `rows`."""
    table = store.table.iloc[rows].reset_index(drop=True)
    table["split"] = np.where(held_out, "test", "train")
    for name, array in Bar(store.arrays.items(), desc="arrays"):
        target = np.lib.format.open_memmap(
            folder / f"{name}.npy",
            mode="w+",
            dtype=array.dtype,
            shape=(len(rows), *array.shape[1:]),
        )
        for part in np.array_split(reading_order(array, rows), max(1, len(rows) // 256)):
            target[part] = array[rows[part]]
        target.flush()
    table.to_parquet(folder / "patches.parquet", index=False)
    present = store.present.iloc[rows].reset_index(drop=True)
    present = present[[name for name in present if not present[name].all()]]
    if present.shape[1]:
        present.to_parquet(folder / "present.parquet", index=False)
    if store.meta.scheme is not None:
        nuclei = store.nuclei[store.nuclei["patch"].isin(rows)]
        new_row = pd.Series(np.arange(len(rows)), index=rows)
        nuclei = nuclei.assign(patch=new_row[nuclei["patch"]].to_numpy())
        nuclei.to_parquet(folder / "nuclei.parquet", index=False)
    absent = {
        str(name): {
            split: int((~present[name] & (table["split"] == split)).sum())
            for split in ("train", "test")
        }
        for name in present
    }
    data = [file for file in sorted(folder.iterdir()) if file.suffix in (".npy", ".parquet")]
    meta = msgspec.structs.replace(
        store.meta,
        hash=content_hash(table),
        arrays={
            name: msgspec.structs.replace(facts, shape=(len(rows), *facts.shape[1:]))
            for name, facts in store.meta.arrays.items()
        },
        splits={split: int(count) for split, count in table["split"].value_counts().items()},
        absent=absent,
        split_rule="group",
        caveats=(
            *(f"{store.path.name}: {caveat}" for caveat in store.caveats),
            f"A validation split: all patches are from the training split of {store.path.name}.",
        ),
        provenance={**store.meta.provenance, "validation_of": store.hash},
        files={
            file.name: FileFacts(bytes=file.stat().st_size, blake2b=files.file_hash(file))
            for file in data
        },
    )
    files.write_json(folder / "meta.json", meta)
