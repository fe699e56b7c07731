"""Annotated regions from QuPath, and the class that they give to each tile."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from morefromless.data.labels import normal_name
from morefromless.data.qupath import class_name, fold_kind, raw_kind
from morefromless.documents import decompress, parse_foreign_json
from morefromless.errors import UnreadablePatch
from morefromless.regular import read_regular

MAX_DISTANCE = 2.0**31
"""Limit in pixels of the distance of an outline from a slide's corner."""
SUFFIXES = (".geojson", ".geojson.gz", ".json")


@dataclass(frozen=True)
class Annotations:
    """Annotated regions with classes, in pixels of the slide's finest level."""

    regions: npt.NDArray[np.object_]
    """(R,) shapely geometries."""
    classes: tuple[str, ...]
    """(R,) their classes; see `is_ignored`."""

    def labels(self, corners: npt.NDArray[np.int64], side: float) -> list[str | None]:
        """The class that covers at least half of each square at `corners` (N, 2) x, y, or None.

        >>> left = Annotations(np.array([shapely.box(0, 0, 15, 10)]), ("tumour",))
        >>> left.labels(np.array([[0, 0], [10, 0], [20, 0]]), side=10)
        ['tumour', 'tumour', None]
        """
        names = sorted(set(self.classes))
        shares = np.zeros((len(corners), len(names)))
        squares = shapely.box(*corners.T, *(corners + side).T)
        tree = shapely.STRtree(squares)
        for number, name in enumerate(names):
            same = [r for r, c in zip(self.regions, self.classes, strict=True) if c == name]
            # The union counts overlapping regions once.
            parts = shapely.get_parts(shapely.union_all(same))
            part, square = tree.query(parts)
            areas = shapely.area(shapely.intersection(parts[part], squares[square]))
            np.add.at(shares[:, number], square, areas / side**2)
        if not names:
            return [None] * len(corners)
        best = shares.argmax(1)
        return [names[k] if shares[n, k] >= 0.5 else None for n, k in enumerate(best)]


def is_ignored(name: str) -> bool:
    """Whether a class is one that QuPath ignores.

    >>> is_ignored("Ignore*"), is_ignored("tumour")
    (True, False)
    """
    return name.endswith("*")


def annotation_file(folder: Path | None, name: str) -> Path | None:
    """The annotation file of the slide `name` in a folder, or None."""
    files = (folder / f"{name}{suffix}" for suffix in SUFFIXES if folder)
    return next((file for file in files if file.is_file()), None)


def read_annotations(path: Path) -> Annotations:
    """Read classified polygons from a GeoJSON file, as QuPath exports annotations.

    Detections, points, lines and regions without a class are skipped. Raises `UnreadablePatch` if
    the file is not GeoJSON, or has objects but no region with a class.
    """
    data = read_regular(path)
    try:
        document = parse_foreign_json(decompress(data, path))
        features = document.get("features", [document]) if isinstance(document, dict) else document
        drawn = [(_class(feature), feature["geometry"]) for feature in features]
        areas = [(name, json.dumps(shape)) for name, shape in drawn if name and _is_area(shape)]
        regions = shapely.make_valid(shapely.from_geojson([text for _, text in areas]))
        if (np.abs(shapely.bounds(regions)) >= MAX_DISTANCE).any():
            raise shapely.errors.ShapelyError("outside a slide")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadablePatch(
            f"damaged annotations: {path.name} is not GeoJSON from QuPath; export it again"
        ) from error
    except shapely.errors.ShapelyError as error:
        raise UnreadablePatch(
            f"damaged annotations: {path.name} has a broken outline; export it again"
        ) from error
    has_area = shapely.area(regions) > 0
    if drawn and not has_area.any():
        raise UnreadablePatch(
            f"no annotations: {path.name} has no region with a class; set classes in QuPath"
        )
    classes = tuple(name for (name, _), region in zip(areas, has_area, strict=True) if region)
    return Annotations(np.asarray(regions)[has_area], classes)


def _is_area(geometry: Any) -> bool:
    """Whether it is a Polygon or MultiPolygon; GEOS crashes on deeply nested collections."""
    return isinstance(geometry, dict) and geometry.get("type") in ("Polygon", "MultiPolygon")


def _class(feature: dict[str, Any]) -> str | None:
    """The class of an annotation; None if it is not an annotation or has no class."""
    kind = raw_kind(feature)
    if kind is not None and fold_kind(kind) not in ("annotation", "tile"):
        return None
    name = class_name(feature.get("properties") or {})
    return normal_name(name) if isinstance(name, str) and name.strip() else None
