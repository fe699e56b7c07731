"""Export nuclei to GeoJSON for QuPath: one detection per nucleus, with its type as its class."""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from scipy import ndimage

from morefromless import files
from morefromless.data.colours import type_colours
from morefromless.data.images import strip_image_suffix
from morefromless.data.nuclei import Nuclei
from morefromless.data.polygons import trace
from morefromless.data.schemes import Scheme
from morefromless.errors import DataError

_NAMESPACE = uuid.UUID("6d6f7265-6672-4f6d-8c65-737300000000")


def geojson_paths(ids: Sequence[str], folder: Path) -> list[Path]:
    """`folder/ID.geojson` for each patch, without the extension of an image.

    Raises `DataError` if two ids would write the same file, or an id would write outside `folder`.

    >>> [path.name for path in geojson_paths(["a/p1.png", "p2"], Path("out"))]
    ['p1.geojson', 'p2.geojson']
    """
    root = folder.resolve()
    writers: dict[Path, str] = {}
    for name in ids:
        path = root / f"{strip_image_suffix(name)}.geojson"
        if not path.resolve().is_relative_to(root):
            raise DataError(
                f"The id '{name}' would be written outside {root}; nothing was written."
            )
        if path in writers:
            raise DataError(
                f"The ids '{writers[path]}' and '{name}' would both write {path}; rename one."
            )
        writers[path] = name
    return list(writers)


def feature_collection(nuclei: Nuclei, scheme: Scheme, name: str) -> dict[str, Any]:
    """Nuclei as a FeatureCollection, in their order.

    Outlines follow pixel edges, with holes; a nucleus in several pieces is a MultiPolygon.
    `nuclei_formats.geojson` reads the same nuclei, types and pixels from them. Pieces that a
    neighbouring patch counts are marked `"counted": false`. No program, including morefromless,
    reads this mark: the file of one patch cannot say which patch counts them. The ids are derived
    from `name`: they differ between images and are reproducible.
    """
    colours = type_colours(len(scheme.types))
    features = []
    boxes = ndimage.find_objects(nuclei.instances, len(nuclei.types))
    for number, (box, kind, counted) in enumerate(
        zip(boxes, nuclei.types.tolist(), nuclei.counted.tolist(), strict=True), 1
    ):
        rows, columns = box
        corner = np.array([columns.start, rows.start])
        properties: dict[str, Any] = {
            "objectType": "detection",
            "classification": {"name": scheme.types[kind], "color": list(colours[kind])},
        }
        if not counted:
            properties["counted"] = False
        features.append(
            {
                "type": "Feature",
                "id": str(_id(name, number)),
                "geometry": _geometry(trace(nuclei.instances[box] == number), corner),
                "properties": properties,
            }
        )
    return {"type": "FeatureCollection", "features": features}


def is_foreign(path: Path, name: str) -> bool:
    """Whether `path` exists and was not written by `write_geojson` with this name."""
    if not path.exists():
        return False
    first = str(_id(name, 1))
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return first not in text and text != _text({"type": "FeatureCollection", "features": []})


def write_geojson(nuclei: Nuclei, scheme: Scheme, path: Path, *, name: str | None = None) -> None:
    """Write `feature_collection` to `path` atomically; `name` defaults to that of the file.

    Raises `StorageError` if the disk is full or `path` is not writable.
    """
    collection = feature_collection(nuclei, scheme, path.stem if name is None else name)
    files.write_text(path, _text(collection))


def _id(name: str, number: int) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, f"{name}/{number}")


def _text(collection: dict[str, Any]) -> str:
    return json.dumps(collection, separators=(",", ":"), ensure_ascii=False) + "\n"


def _geometry(traced: shapely.Geometry, corner: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Geometry with integer coordinates: outlines connect pixel corners."""
    parts = [
        [
            (np.rint(shapely.get_coordinates(outline)).astype(np.int64) + corner).tolist()
            for outline in shapely.get_rings(part)
        ]
        for part in shapely.get_parts(traced)
    ]
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}
