"""Kind and class of an object in QuPath's GeoJSON, in all spellings."""

import re
from typing import Any

from morefromless.documents import parse_foreign_json

NUCLEUS_KINDS = ("detection", "cell")
REGION_KINDS = ("annotation", "tile", "tmacore", "root")
"""QuPath's kinds of objects."""


def raw_kind(feature: dict[str, Any]) -> Any:
    """The kind of a Feature as written in the file, or None."""
    properties = as_mapping(feature.get("properties"))
    # Programs other than QuPath write it next to the properties.
    for holder in (properties, feature):
        for key in ("objectType", "object_type"):
            if holder.get(key) is not None:
                return holder[key]
    # QuPath 0.2 writes the Java class in `id`; some programs write the kind in `type`.
    for value in (properties.get("type"), feature.get("id")):
        if isinstance(value, str) and fold_kind(value) in NUCLEUS_KINDS + REGION_KINDS:
            return value
    return None


def fold_kind(kind: Any) -> str:
    """A kind in its newest spelling, in lower case: `PathTileObject` and `tile` are equal, as are
    `TMACoreObject` and `tmaCore`.

    >>> fold_kind("PathTileObject")
    'tile'
    """
    letters = re.sub(r"[^a-z]", "", str(kind).lower()[:60])
    return letters.removeprefix("path").removesuffix("object")


def class_name(properties: dict[str, Any]) -> Any:
    """The class name in an object's `classification`; names of a class and its subclasses are
    joined by ": ".

    >>> class_name({"classification": {"names": ["Tumor", "Positive"]}})
    'Tumor: Positive'
    """
    value = parse_text(properties.get("classification"))
    if not isinstance(value, dict):
        return value
    names = value.get("names")
    return value.get("name") or (": ".join(map(str, names)) if isinstance(names, list) else "")


def parse_text(value: Any) -> Any:
    """Parse JSON in a text, as GeoPandas writes values that are neither numbers nor text."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return parse_foreign_json(value)
        except ValueError:
            return value
    return value


def as_mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
