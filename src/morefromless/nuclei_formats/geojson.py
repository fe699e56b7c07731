"""GeoJSON as exported by QuPath, TIAToolbox and HoVer-NeXt, and as written by `data.geojson`."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from morefromless.data.outlines import Convention, Ring, ring
from morefromless.data.polygons import fill
from morefromless.data.qupath import (
    NUCLEUS_KINDS,
    REGION_KINDS,
    as_mapping,
    class_name,
    fold_kind,
    parse_text,
)
from morefromless.data.schemes import RawType
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat, TypedInstances
from morefromless.nuclei_formats._features import Feature, parse_features, select_nuclei
from morefromless.nuclei_formats._files import parse_type, printable, read_head, read_json

_FEATURES = re.compile(r'"type"\s*:\s*"Feature(Collection)?"')

KEYS = frozenset(
    {"type", "features", "geometry", "nucleusGeometry", "coordinates", "plane", "properties"}
    | {"objectType", "object_type", "classification", "class", "name", "names", "box"}
)
"""The keys that are read. An object with one of these keys twice is refused."""

_CELLVIT = re.compile(r"(^|_)cells\.(geo)?json$")

TIATOOLBOX_PROPERTIES = tuple(
    map(frozenset, ({"box"}, {"centroid"}, {"class_value"}, {"prob", "type"}))
)
"""Sets of properties that identify TIAToolbox's nuclei (outlines through pixel centres)."""

Parts = Literal["one", "each", "ask"]


class Geojson(NucleiFormat):
    """A FeatureCollection, a list of Features or one Feature, in the image's own pixels.

    A Feature is a nucleus: its Polygon with holes, or its whole MultiPolygon. For QuPath's cells,
    the `nucleusGeometry` is used. The type is `classification` (`name`, or `names` joined by ": ")
    in the properties, else the property `class`, `type` or `name`. A file without Features has no
    nuclei. Cells without a nucleus are skipped and counted, and so are regions and points in files
    with detections or cells. Nuclei in several z-planes or at several times are refused.

    `convention` defines how outlines relate to pixels (`data.polygons`): `edges` for QuPath's own
    regions and for this program's files, `centres` for OpenCV contours written as GeoJSON. The
    default `auto` recognises HoVer-NeXt and TIAToolbox by their properties. It uses `centres` for
    HoVer-NeXt. For TIAToolbox, the boxes determine the convention, and outlines without such boxes
    are refused. All other files use `edges`. The wrong convention removes or adds up to half a
    pixel around every nucleus.

    `parts` defines the meaning of a MultiPolygon: `one` nucleus in pieces, or `each` polygon is a
    nucleus, as in programs that collect all nuclei of a type in one Feature. The default `ask`
    uses `one` for detections and cells, and refuses annotations, which programs use for both.
    CellViT's `cells.geojson` is recognised by its name: each polygon is a nucleus, traced through
    pixel centres.
    """

    suffixes = (".geojson", ".json", ".geojson.gz")

    def __init__(
        self, convention: Literal["auto"] | Convention = "auto", parts: Parts = "ask"
    ) -> None:
        self.convention: Literal["auto"] | Convention = convention
        self.parts: Parts = parts

    @classmethod
    def recognises(cls, path: Path) -> bool:
        if path.name.lower().endswith((".geojson", ".geojson.gz")):
            return True
        return _FEATURES.search(read_head(path)) is not None

    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        features = parse_features(read_json(path, KEYS), path)
        nuclei, skipped = select_nuclei([Feature.of(*pair) for pair in enumerate(features, 1)])
        cellvit = _CELLVIT.search(path.name.lower()) is not None and all(
            nucleus.kind == "annotation" and nucleus.geometry.get("type") == "MultiPolygon"
            for nucleus in nuclei
        )
        mode = "each" if cellvit and self.parts == "ask" else self.parts
        outlines: list[list[list[Ring]]] = []
        boxes: list[Any] = []
        types: dict[int, RawType | None] = {}
        planes = set()
        for nucleus in nuclei:
            parts = _parts(nucleus, mode)
            planes |= _planes(nucleus, parts)
            if len(planes) > 1:
                raise UnreadablePatch(
                    "several planes: nuclei are at more than one z or t; export one plane"
                )
            rings = [[ring(points, nucleus.number) for points in part] for part in parts]
            for outline in [[part] for part in rings] if mode == "each" else [rings]:
                outlines.append(outline)
                boxes.append(nucleus.properties.get("box"))
                types[len(outlines)] = _type(nucleus.properties, nucleus.number)
        convention = self.convention
        if convention == "auto":
            convention = "centres" if cellvit else _convention(nuclei, outlines, boxes)
        return TypedInstances(fill(outlines, shape, convention), types, skipped)


def _parts(nucleus: Feature, mode: Parts) -> list[Any]:
    """The polygons of a nucleus, each a list of rings. The rings are not checked here."""
    kind, coordinates = nucleus.geometry.get("type"), nucleus.geometry.get("coordinates")
    if kind == "LineString" and nucleus.is_hover_next:
        kind, coordinates = "Polygon", [coordinates]
    if kind not in ("Polygon", "MultiPolygon"):
        raise UnreadablePatch(
            f"not a polygon: feature {nucleus.number} is a "
            f"{printable(kind) if kind else 'feature without geometry'}; export areas"
        )
    parts = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(parts, list) or not all(isinstance(part, list) for part in parts):
        raise UnreadablePatch(
            f"broken polygon: feature {nucleus.number} has no list of rings; export it again"
        )
    if len(parts) > 1 and nucleus.kind == "annotation" and mode == "ask":
        raise UnreadablePatch(
            f"several parts: feature {nucleus.number} is an annotation of {len(parts)} "
            "polygons; give geojson:parts=each if each is a nucleus (CellViT: parts=each,"
            "convention=centres), parts=one if all together are one nucleus"
        )
    return parts


def _convention(
    nuclei: Sequence[Feature], outlines: Sequence[Any], boxes: Sequence[Any]
) -> Convention:
    """Detect the convention of outlines from the properties that the tool writes.

    TIAToolbox's `box` ends one pixel after the last pixel of a nucleus. It therefore ends one pixel
    after an outline through pixel centres, but together with an outline along pixel edges.
    """
    if nuclei and all(nucleus.is_hover_next for nucleus in nuclei):
        return "centres"
    if not any(
        required <= nucleus.properties.keys()
        for nucleus in nuclei
        for required in TIATOOLBOX_PROPERTIES
    ):
        return "edges"
    beyond = Counter(
        round(box[2] - max(x for part in outline for x in part[0][:, 0].tolist()))
        for outline, box in zip(outlines, map(_box, boxes), strict=True)
        if box is not None and all(len(part) and len(part[0]) for part in outline)
    )
    if beyond and 2 * beyond[1] > len(outlines):
        return "centres"
    if beyond and 2 * beyond[0] > len(outlines):
        return "edges"
    raise UnreadablePatch(
        "outlines unclear: they look like TIAToolbox's, but their boxes do not show the "
        "convention; give geojson:convention=centres for TIAToolbox's own contours, else "
        "convention=edges"
    )


def _box(value: Any) -> list[float] | None:
    value = parse_text(value)
    if not isinstance(value, list) or len(value) != 4:
        return None
    numbers = all(type(number) in (int, float) and abs(number) < 2**31 for number in value)
    return value if numbers else None


def _planes(nucleus: Feature, parts: list[Any]) -> set[tuple[Any, ...]]:
    """Planes of a nucleus: z and t of its plane, and the third numbers of its coordinates."""
    plane = as_mapping(nucleus.geometry.get("plane") or nucleus.members.get("plane"))
    plane_position = (plane.get("z") or 0, plane.get("t") or 0)
    try:
        heights: set[Any] = {
            point[2] if len(point) > 2 else None
            for rings in parts
            for ring in rings
            for point in ring
        }
        return {(*plane_position, height) for height in heights}
    except (TypeError, KeyError):  # not lists of points; `ring` refuses them later
        return set()


def _type(properties: dict[str, Any], number: int) -> RawType | None:
    kind = properties.get("type")
    if isinstance(kind, str) and fold_kind(kind) in NUCLEUS_KINDS + REGION_KINDS:
        kind = None
    candidates = (class_name(properties), properties.get("class"), kind, properties.get("name"))
    return parse_type(next((v for v in candidates if v not in (None, "")), None), number)
