"""A store's nuclei as files that other programs open."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from morefromless.data.geojson import write_geojson
from morefromless.data.images import bare
from morefromless.data.nuclei import ARRAY, Nuclei
from morefromless.data.store import Store
from morefromless.errors import DataError


def export_geojson(store: Store, folder: Path, *, progress: bool = True) -> int:
    """Write one `ID.geojson` a patch below `folder`, in the patch's own pixels; how many.

    QuPath opens them on the patches, and `mfl ingest ... --nuclei FOLDER` takes them back: the same
    nuclei, types and pixels. Raises `DataError` where the store has no nuclei, or an id would lie
    outside the folder.
    """
    scheme, stored = store.scheme, store.array(ARRAY)
    root = folder.resolve()
    ids = store.table["id"].tolist()
    for row, name in enumerate(
        tqdm(ids, desc="export", unit=" patches", disable=not progress, dynamic_ncols=True)
    ):
        path = root / f"{bare(name)}.geojson"
        if not path.resolve().is_relative_to(root):
            raise DataError(f"The id '{name}' would be written outside {folder}; nothing is.")
        write_geojson(Nuclei.decode(np.asarray(stored[row])), scheme, path, name=name)
    return len(ids)
