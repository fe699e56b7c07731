"""GeoJSON Features, and which of them are nuclei, by QuPath's kinds of objects."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morefromless.data.qupath import NUCLEUS_KINDS, REGION_KINDS, as_mapping, fold_kind, raw_kind
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats._files import printable


@dataclass(frozen=True)
class Feature:
    """One Feature. `kind` is the QuPath kind in its newest spelling, in lower case, or None."""

    number: int
    kind: str | None
    raw_kind: Any
    geometry: dict[str, Any]
    properties: dict[str, Any]
    members: dict[str, Any]

    @classmethod
    def of(cls, number: int, feature: dict[str, Any]) -> "Feature":
        properties = as_mapping(feature.get("properties"))
        raw = raw_kind(feature)
        kind = None if raw is None else fold_kind(raw)
        nucleus = feature.get("nucleusGeometry")
        geometry = as_mapping(nucleus if nucleus or kind == "cell" else feature.get("geometry"))
        return cls(number, kind, raw, geometry, properties, feature)

    @property
    def is_hover_next(self) -> bool:
        name = self.properties.get("Name")
        return self.properties.get("Type") == "Polygon" and str(name).startswith("Nuc ")


def select_nuclei(objects: Sequence[Feature]) -> tuple[list[Feature], dict[str, int]]:
    """The nuclei among a file's objects, and the number of skipped objects by kind.

    An annotation is a nucleus only in a file without detections and cells. In other files, it is a
    region.
    """
    has_nuclei = any(item.kind in NUCLEUS_KINDS for item in objects)
    nuclei: list[Feature] = []
    skipped: Counter[str] = Counter()
    for item in objects:
        shape = as_mapping(item.members.get("geometry")).get("type")
        if has_nuclei and item.kind in REGION_KINDS:
            skipped[f"{item.kind} next to nuclei"] += 1
        elif has_nuclei and shape in ("Point", "MultiPoint"):
            skipped["point next to nuclei"] += 1
        elif item.kind == "cell" and not item.geometry:
            skipped["cell without nucleus"] += 1
        elif item.kind not in (None, "annotation", *NUCLEUS_KINDS):
            raise UnreadablePatch(
                f"not a nucleus: feature {item.number} is a QuPath {printable(item.raw_kind)}; "
                "export detections or cells"
            )
        else:
            nuclei.append(item)
    if not nuclei and skipped["cell without nucleus"]:
        raise UnreadablePatch(
            f"no nucleus: all {skipped['cell without nucleus']} cells have no nucleusGeometry; "
            "detect nuclei, or export detections"
        )
    return nuclei, dict(skipped)


def parse_features(content: Any, path: Path) -> Iterable[dict[str, Any]]:
    if isinstance(content, dict):
        collection = content.get("type") == "FeatureCollection"
        content = content.get("features") if collection else [content]
    if not isinstance(content, list) or not all(
        isinstance(feature, dict) and feature.get("type") == "Feature" for feature in content
    ):
        raise UnreadablePatch(
            f"unreadable: {path.name} is not GeoJSON of Features; export it as a FeatureCollection"
        )
    return content
