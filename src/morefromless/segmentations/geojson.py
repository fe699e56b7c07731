"""GeoJSON, as QuPath exports it and as `mfl export` and `mfl segment` write it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import shapely
from shapely.geometry import shape as as_geometry
from shapely.geometry.base import BaseGeometry

from morefromless.data.polygons import Canvas
from morefromless.data.schemes import Told
from morefromless.data.textfiles import head, read_json
from morefromless.errors import ConfigError, UnreadablePatch
from morefromless.segmentations import Segmentation, Segmented


class Geojson(Segmentation):
    """A FeatureCollection, a list of Features or one Feature; a nucleus each, in pixels.

    Polygons and multi-polygons, with holes. A cell of QuPath's is taken for its nucleus
    (`nucleusGeometry`). The type is the name of the classification. No features means no nuclei.
    Regions on more than one z-plane or time point are refused, for an image here is one plane.

    `convention` is that of `data.polygons`: `edges` for QuPath and for this program, `centres` for
    files that somebody made of OpenCV contours.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".geojson", ".json")

    def __init__(self, convention: Literal["edges", "centres"] = "edges") -> None:
        if convention not in get_args(Literal["edges", "centres"]):
            raise ConfigError(f"geojson has no convention={convention}; give edges or centres.")
        self.centres = convention == "centres"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.suffix.lower() == ".geojson" or '"Feature' in head(path)

    def read(self, path: Path, shape: tuple[int, int]) -> Segmented:
        canvas = Canvas(shape)
        types: dict[int, Told | None] = {}
        planes = set()
        for number, feature in enumerate(_features(read_json(path), path), 1):
            geometry = feature.get("nucleusGeometry") or feature.get("geometry")
            told = feature.get("properties") or {}
            region = _region(geometry, number)
            planes.add(_plane(feature, geometry, region))
            if len(planes) > 1:
                raise UnreadablePatch(
                    f"several planes: {path.name} has regions at more than one z or t; export one"
                )
            added = self._centred(canvas, region) if self.centres else canvas.region(region)
            types[added] = _type(told)
        return Segmented(canvas.instances, types)

    @staticmethod
    def _centred(canvas: Canvas, region: BaseGeometry) -> int:
        parts = shapely.get_parts(region)
        if len(parts) != 1 or parts[0].interiors:
            raise UnreadablePatch(
                "not a contour: convention=centres takes single polygons without holes"
            )
        return canvas.contour(shapely.get_coordinates(parts[0])[:-1])


def _features(held: Any, path: Path) -> Iterator[dict[str, Any]]:
    if isinstance(held, dict) and held.get("type") == "FeatureCollection":
        held = held.get("features")
    elif isinstance(held, dict):
        held = [held]
    if not isinstance(held, list):
        raise UnreadablePatch(f"unreadable: {path.name} is not GeoJSON")
    for feature in held:
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            raise UnreadablePatch(f"unreadable: {path.name} holds what is no Feature")
        yield feature


def _region(geometry: Any, number: int) -> BaseGeometry:
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        raise UnreadablePatch(f"not a polygon: nucleus {number} is of kind {kind}")
    try:
        return as_geometry(geometry)
    except (ValueError, TypeError, IndexError, KeyError, shapely.errors.GEOSException) as error:
        raise UnreadablePatch(f"broken polygon: nucleus {number} has no sound ring") from error


def _plane(feature: dict[str, Any], geometry: Any, region: BaseGeometry) -> tuple[Any, ...]:
    """Where QuPath says that a region lies: z and t, and a third coordinate if there is one."""
    told = geometry.get("plane") or feature.get("plane") or {}
    heights: list[float] = []
    if region.has_z:
        heights = np.unique(shapely.get_coordinates(region, include_z=True)[:, 2]).tolist()
    return told.get("z", 0), told.get("t", 0), *heights


def _type(told: dict[str, Any]) -> Told | None:
    kind = told.get("classification") or told.get("class") or told.get("type")
    if isinstance(kind, dict):
        kind = kind.get("name") or ": ".join(kind.get("names") or [])
    if isinstance(kind, bool) or not isinstance(kind, (str, int)) or kind == "":
        return None
    return kind
