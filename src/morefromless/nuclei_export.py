"""A store's nuclei as files that other programs open."""

from pathlib import Path

import numpy as np

from morefromless.data.geojson import geojson_paths, is_foreign, write_geojson
from morefromless.data.nuclei import ARRAY, Nuclei
from morefromless.data.store import Store
from morefromless.errors import DataError
from morefromless.progress import Bar


def export_geojson(store: Store, folder: Path, *, progress: bool = True) -> int:
    """Write one `ID.geojson` a patch below `folder`, in the patch's own pixels; how many.

    QuPath opens them on the patches, and `mfl ingest ... --nuclei FOLDER` takes them back: the same
    nuclei, types and pixels. Raises `DataError`, before anything is written, where the store has no
    nuclei, two ids would write one file, an id would write outside the folder, or a file is there
    that this function did not write.
    """
    scheme, array = store.scheme, store.array(ARRAY)
    ids = store.table["id"].tolist()
    paths = geojson_paths(ids, folder)
    foreign = next((p for p, name in zip(paths, ids, strict=True) if is_foreign(p, name)), None)
    if foreign is not None:
        raise DataError(f"{foreign} is there and is another file; choose another folder.")
    for row in Bar(range(len(ids)), desc="export", unit=" patches", disable=not progress):
        nuclei = Nuclei.decode(np.asarray(array[row]))
        write_geojson(nuclei, scheme, paths[row], name=ids[row])
    return len(ids)
