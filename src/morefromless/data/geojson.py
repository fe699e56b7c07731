"""Nuclei to GeoJSON that QuPath opens: one detection a nucleus, with its type as its class."""

import colorsys
import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from scipy import ndimage

from morefromless.data import atomic
from morefromless.data.nuclei import Nuclei
from morefromless.data.polygons import trace
from morefromless.data.schemes import Scheme

_NAMESPACE = uuid.UUID("6d6f7265-6672-4f6d-8c65-737300000000")


def colours(count: int) -> list[tuple[int, int, int]]:
    """RGB of the codes 0 ... count - 1: grey for none, then hues that are far apart.

    A code's colour is the same whatever `count` is.
    """
    golden = (5**0.5 - 1) / 2
    hues = [
        colorsys.hsv_to_rgb(k * golden % 1, 0.85 if k % 2 else 0.6, 0.9) for k in range(count - 1)
    ]
    return [
        (128, 128, 128),
        *((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in hues),
    ][:count]


def feature_collection(
    nuclei: Nuclei, scheme: Scheme, *, offset: tuple[int, int] = (0, 0), name: str = ""
) -> dict[str, Any]:
    """Nuclei as a FeatureCollection, in their order; `offset` (x, y) in px places a patch in its
    tile.

    Outlines run along the edges of pixels, with holes, and as a MultiPolygon where a nucleus is in
    several pieces: `nuclei_formats.geojson` reads the same nuclei, types and pixels from them.
    Pieces that a neighbouring patch counts are marked `"counted": false`; no program reads that,
    ours included, for a file of one patch alone cannot say who counts them. `name` makes ids that
    differ between images, and are the same each time.
    """
    tint = colours(len(scheme.types))
    features = []
    boxes = ndimage.find_objects(nuclei.instances, len(nuclei.types))
    for number, (box, kind, counted) in enumerate(
        zip(boxes, nuclei.types.tolist(), nuclei.counted.tolist(), strict=True), 1
    ):
        rows, columns = box
        corner = np.array([columns.start + offset[0], rows.start + offset[1]])
        properties: dict[str, Any] = {
            "objectType": "detection",
            "classification": {"name": scheme.types[kind], "color": list(tint[kind])},
        }
        if not counted:
            properties["counted"] = False
        features.append(
            {
                "type": "Feature",
                "id": str(uuid.uuid5(_NAMESPACE, f"{name}/{number}")),
                "geometry": _geometry(trace(nuclei.instances[box] == number), corner),
                "properties": properties,
            }
        )
    return {"type": "FeatureCollection", "features": features}


def write_geojson(
    nuclei: Nuclei,
    scheme: Scheme,
    path: Path,
    *,
    offset: tuple[int, int] = (0, 0),
    name: str | None = None,
) -> None:
    """Write `feature_collection` to `path`, whole or not at all; `name` is the file's by default.

    Raises `StorageError` where the disk is full or the place may not be written to.
    """
    collection = feature_collection(
        nuclei, scheme, offset=offset, name=path.stem if name is None else name
    )
    atomic.write_text(
        path, json.dumps(collection, separators=(",", ":"), ensure_ascii=False) + "\n"
    )


def _geometry(traced: shapely.Geometry, corner: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Whole numbers, for outlines run from corner to corner of pixels."""
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
