"""Label images: one of instances, and beside it one of types or a table."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from morefromless.data.arrays import mapped
from morefromless.data.images import opened
from morefromless.data.masks import Mask, flat, majority, same_size, whole
from morefromless.data.schemes import RawType
from morefromless.errors import DataError, UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat, TypedInstances

IMAGES = (".png", ".tif", ".tiff", ".npy")
TABLES = (".csv", ".json")
MODES = ("L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
"""Pillow's modes of one number a pixel; a palette's number is what a label image means."""


class LabelImages(NucleiFormat):
    """`instances/**/STEM` numbers the nuclei, and `types/**/STEM` beside that folder types them.

    Instances are a png, tif or npy of one whole number a pixel, in up to 32 bits. Types are such
    an image too, whose value within a nucleus is its type, or a csv with the columns `instance`
    and `type`, or a json: `{"1": "Epithelial"}`, or a list of objects with `instance` and `type`.
    """

    suffixes = IMAGES

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.suffix.lower() in IMAGES and "instances" in path.parts[:-1]

    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        if not path.is_file():
            raise UnreadablePatch(f"no segmentation: there is no {path.name}; fetch it")
        types = _types_of(path)
        instances = _image(path, shape)
        if types.suffix.lower() in IMAGES:
            return TypedInstances(instances, majority(instances, _image(types, shape)))
        return TypedInstances(instances, _table(types))


def _types_of(path: Path) -> Path:
    """The one file in `types` that belongs to a file in `instances`."""
    parts = list(path.parts)
    places = [k for k, part in enumerate(parts[:-1]) if part == "instances"]
    if not places:
        raise UnreadablePatch(
            f"no types: {path.name} lies in no folder instances; move it there, and its types "
            "into types beside it"
        )
    parts[places[-1]] = "types"
    beside = Path(*parts)
    found = [
        file
        for file in sorted(beside.parent.glob("*"))
        if file.stem == beside.stem and file.suffix.lower() in IMAGES + TABLES
    ]
    if not found:
        raise UnreadablePatch(f"no types: there is no types/{beside.stem} for {path.name}; add it")
    if len(found) > 1:
        names = " and ".join(f"types/{file.name}" for file in found[:2])
        raise UnreadablePatch(f"several types: there are {names}; keep one")
    return found[0]


def _image(path: Path, shape: tuple[int, int]) -> Mask:
    what = f"{path.parent.name}/{path.name}"
    if path.suffix.lower() == ".npy":
        try:
            values = mapped(path)
        except DataError as error:
            raise UnreadablePatch(f"unreadable: {error}") from error
        same_size(flat(values, what).shape, shape)
        return whole(values, what)
    with opened(path) as image:
        if image.mode in ("1", "LA"):
            raise UnreadablePatch(f"not a mask: {what} has mode {image.mode}; number the nuclei")
        if image.mode not in MODES:
            raise UnreadablePatch(f"colour mask: {what} has mode {image.mode}; store numbers")
        if image.format == "JPEG":
            raise UnreadablePatch(f"lossy mask: {what} is a JPEG; store a png")
        if getattr(image, "n_frames", 1) > 1:
            raise UnreadablePatch(f"several pages: {what} has more than one; store one")
        same_size((image.height, image.width), shape)  # before anything is decoded
        values = np.asarray(image)
    return whole(values, what)


def _table(path: Path) -> dict[int, RawType | None]:
    what = f"types/{path.name}"
    types: dict[int, RawType | None] = {}
    try:
        for key, kind in _csv(path) if path.suffix.lower() == ".csv" else _json(path):
            number = _number(key)
            if number in types:
                raise UnreadablePatch(f"several types: {what} lists id {number} twice; keep one")
            types[number] = _parse_type(kind)
    # A table that is damaged, or another sort of file by that name.
    except (OSError, ValueError, TypeError, KeyError, RecursionError, csv.Error) as error:
        raise UnreadablePatch(
            f"unreadable: {what} is no table of instance and type; give it these columns"
        ) from error
    return types


def _csv(path: Path) -> list[tuple[Any, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [(row["instance"], row["type"]) for row in csv.DictReader(file)]


def _json(path: Path) -> list[tuple[Any, Any]]:
    held = json.loads(path.read_bytes())
    if isinstance(held, dict):
        return list(held.items())
    return [(row["instance"], row["type"]) for row in held]


def _number(value: Any) -> int:
    """A whole number, also where it is written 2.0, as tables with gaps write it."""
    if isinstance(value, bool) or not float(value).is_integer():
        raise ValueError(value)
    return int(float(value))


def _parse_type(value: Any) -> RawType | None:
    if value is None or value == "":
        return None
    try:
        return _number(value)
    except ValueError:
        if isinstance(value, str):
            return value
        raise
