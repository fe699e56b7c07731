"""GeoJSON, as QuPath exports it and as `data.geojson` writes it."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

from morefromless.data import polygons
from morefromless.data.schemes import RawType
from morefromless.errors import ConfigError, UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat, TypedInstances
from morefromless.nuclei_formats._files import head, parse_type, plain, read_json

_FEATURES = re.compile(r'"type"\s*:\s*"Feature(Collection)?"')

OBJECTS = ("annotation", "detection", "cell")
"""QuPath's objects that can be a nucleus; tiles, cores of arrays and roots cannot."""

Parts = Literal["one", "each", "ask"]


class Geojson(NucleiFormat):
    """A FeatureCollection, a list of Features or one Feature, in the image's own pixels.

    A Feature is a nucleus: its Polygon with holes, or all of its MultiPolygon; of QuPath's cells
    the `nucleusGeometry`. Its type is `classification` (`name`, or `names` joined by ": ") in its
    properties, else their `class`, `type` or `name`. No Features are no nuclei. Nuclei in more than
    one z-plane or at more than one time are refused.

    `convention` is how outlines are meant (`data.polygons`), which a file does not say: `edges`
    for QuPath's own regions and for this program's files, `centres` where somebody wrote OpenCV
    contours as GeoJSON (converters from HoVer-Net and CellViT). The wrong one shaves off, or adds,
    up to half a pixel around every nucleus.

    `parts` is what a MultiPolygon is: `one` nucleus in pieces, or `each` polygon a nucleus, as
    programs write that gather all nuclei of a type in one Feature (CellViT). `ask`, the default,
    takes detections and cells for one and refuses annotations, which have been used for both.
    """

    suffixes = (".geojson", ".json")

    def __init__(self, convention: polygons.Convention = "edges", parts: Parts = "ask") -> None:
        if convention not in get_args(polygons.Convention):
            raise ConfigError(f"geojson has no convention={convention}; give edges or centres.")
        if parts not in get_args(Parts):
            raise ConfigError(f"geojson has no parts={parts}; give one, each or ask.")
        self.convention: polygons.Convention = convention
        self.parts: Parts = parts

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.suffix.lower() == ".geojson" or _FEATURES.search(head(path)) is not None

    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        nuclei: list[list[list[polygons.Ring]]] = []
        types: dict[int, RawType | None] = {}
        planes = set()
        for number, feature in enumerate(_features(read_json(path), path), 1):
            properties = _mapping(feature.get("properties"))
            # Programs other than QuPath write it beside the properties.
            kind = properties.get("objectType", feature.get("objectType"))
            if kind is not None and kind not in OBJECTS:
                raise UnreadablePatch(
                    f"not a nucleus: feature {number} is a QuPath {plain(kind)}; export detections "
                    "or cells"
                )
            geometry = _mapping(feature.get("nucleusGeometry") or feature.get("geometry"))
            shapes = self._polygons(geometry, number, kind == "annotation")
            planes |= _planes(feature, geometry, shapes)
            if len(planes) > 1:
                raise UnreadablePatch(
                    "several planes: nuclei lie at more than one z or t; export one plane"
                )
            outlines = [[polygons.ring(ring, number) for ring in part] for part in shapes]
            each = [[part] for part in outlines] if self.parts == "each" else [outlines]
            for nucleus in each:
                nuclei.append(nucleus)
                types[len(nuclei)] = _type(properties, number)
        return TypedInstances(polygons.fill(nuclei, shape, self.convention), types)

    def _polygons(self, geometry: dict[str, Any], number: int, annotation: bool) -> list[Any]:
        """The geometry's polygons, each a list of rings that are as yet unchecked."""
        kind, held = geometry.get("type"), geometry.get("coordinates")
        if kind not in ("Polygon", "MultiPolygon"):
            raise UnreadablePatch(
                f"not a polygon: feature {number} is a "
                f"{plain(kind) if kind else 'feature without geometry'}; export areas"
            )
        parts = [held] if kind == "Polygon" else held
        if not isinstance(parts, list) or not all(isinstance(part, list) for part in parts):
            raise UnreadablePatch(
                f"broken polygon: feature {number} has no list of rings; export it again"
            )
        if len(parts) > 1 and annotation and self.parts == "ask":
            raise UnreadablePatch(
                f"several parts: feature {number} is an annotation of {len(parts)} polygons; say "
                "geojson:parts=each if each is a nucleus, parts=one if all are"
            )
        return parts


def _features(held: Any, path: Path) -> Iterable[dict[str, Any]]:
    if isinstance(held, dict):
        collection = held.get("type") == "FeatureCollection"
        held = held.get("features") if collection else [held]
    if not isinstance(held, list) or not all(
        isinstance(feature, dict) and feature.get("type") == "Feature" for feature in held
    ):
        raise UnreadablePatch(
            f"unreadable: {path.name} is not GeoJSON of Features; export it as a FeatureCollection"
        )
    return held


def _mapping(held: Any) -> dict[str, Any]:
    return held if isinstance(held, dict) else {}


def _planes(
    feature: dict[str, Any], geometry: dict[str, Any], shapes: list[Any]
) -> set[tuple[Any, ...]]:
    """Where a nucleus lies: z and t of its plane, and the third numbers of its coordinates."""
    plane = _mapping(geometry.get("plane") or feature.get("plane"))
    told_of = (plane.get("z") or 0, plane.get("t") or 0)
    try:
        heights: set[Any] = {
            point[2] if len(point) > 2 else None
            for rings in shapes
            for ring in rings
            for point in ring
        }
        return {(*told_of, height) for height in heights}
    except (TypeError, KeyError):  # no lists of points, as the ring's own check will say
        return set()


def _type(properties: dict[str, Any], number: int) -> RawType | None:
    given = properties.get("classification")
    if isinstance(given, dict):
        names = given.get("names")
        given = given.get("name") or (": ".join(map(str, names)) if isinstance(names, list) else "")
    if given in (None, ""):
        kind = properties.get("type")
        own = None if kind in OBJECTS else kind  # QuPath reads `type` as the kind of object
        given = next(
            (
                v
                for v in (properties.get("class"), own, properties.get("name"))
                if v not in (None, "")
            ),
            None,
        )
    return parse_type(given, number)
