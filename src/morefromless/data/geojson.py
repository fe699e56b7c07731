"""Nuclei to GeoJSON that QuPath opens: one detection a nucleus, with its type as its class."""

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from scipy import ndimage
from shapely import affinity

from morefromless.data import atomic
from morefromless.data.nuclei import Nuclei
from morefromless.data.polygons import trace
from morefromless.data.schemes import Scheme

COLOURS = (
    (128, 128, 128), (230, 75, 53), (77, 187, 213), (0, 160, 135), (243, 155, 127), (145, 209, 194),
    (132, 145, 180), (126, 97, 72), (220, 200, 80),
)  # fmt: skip
"""RGB of the scheme's types in turn, as QuPath shows them."""

_NAMESPACE = uuid.UUID("6d6f7265-6672-4f6d-8c65-737300000000")


def feature_collection(
    nuclei: Nuclei, scheme: Scheme, *, offset: tuple[int, int] = (0, 0), name: str = ""
) -> dict[str, Any]:
    """Nuclei as a FeatureCollection, in their order; `offset` (x, y) places a patch in its tile.

    Outlines run along the edges of pixels, holes and separate parts included, so that reading them
    again gives the same pixels. Pieces that a neighbouring patch counts are marked
    `"counted": false`, which other programs pass over. `name` makes the ids of an image its own.
    """
    features = []
    boxes = ndimage.find_objects(nuclei.instances)
    for number, (box, kind, counted) in enumerate(
        zip(boxes, nuclei.types.tolist(), nuclei.counted.tolist(), strict=True), 1
    ):
        rows, columns = box
        outline = affinity.translate(
            trace(nuclei.instances[box] == number),
            columns.start + offset[0],
            rows.start + offset[1],
        )
        told: dict[str, Any] = {
            "objectType": "detection",
            "classification": {
                "name": scheme.types[kind],
                "color": list(COLOURS[kind % len(COLOURS)]),
            },
        }
        if not counted:
            told["counted"] = False
        features.append(
            {
                "type": "Feature",
                "id": str(uuid.uuid5(_NAMESPACE, f"{name}/{number}")),
                "geometry": _plain(shapely.geometry.mapping(outline)),
                "properties": told,
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
    """Write `feature_collection` to `path`, whole or not at all."""
    made = feature_collection(
        nuclei, scheme, offset=offset, name=path.stem if name is None else name
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, json.dumps(made))


def _plain(mapping: dict[str, Any]) -> dict[str, Any]:
    """Coordinates as whole numbers: outlines run from corner to corner of pixels."""

    def whole(part: Any) -> Any:
        if isinstance(part, (tuple, list)):
            return [whole(one) for one in part]
        return int(part) if float(part).is_integer() else float(np.round(part, 3))

    return {"type": mapping["type"], "coordinates": whole(mapping["coordinates"])}
