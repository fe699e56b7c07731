"""Label images: an image of instances, with an image or a table of types."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from morefromless.data.images import open_image, upright, upright_shape
from morefromless.data.masks import Mask, check_mask, check_size, majority_types, to_int32
from morefromless.data.schemes import RawType
from morefromless.documents import parse_foreign_json
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat, TypedInstances
from morefromless.nuclei_formats._files import map_array, parse_type
from morefromless.nuclei_formats._pieces import Pieces, separate_pieces
from morefromless.regular import open_regular, read_regular

IMAGES = (".png", ".tif", ".tiff", ".npy")
TABLES = (".csv", ".json")
MODES = ("L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
"""Pillow modes with one number per pixel. For a palette image, the label is the index."""


class LabelImages(NucleiFormat):
    """`instances/**/STEM` contains the ids of nuclei, and `types/**/STEM` their types.

    The folders `instances` and `types` have the same parent. Instances are a png, tif or npy with
    one whole number per pixel, in up to 32 bits. Types are one of:

    - an image of the same kind, whose value within a nucleus is its type
    - a csv with the columns `instance` and `type`
    - a json: `{"1": "Epithelial"}`, or a list of objects with `instance` and `type`

    Without a folder `types`, and for label images outside `instances` (StarDist, cellpose), nuclei
    have no type. `pieces` defines the meaning of an id in several pieces: `one` nucleus, or `each`
    piece is a nucleus. The default `ask` refuses maps in which most ids have several pieces.
    """

    suffixes = IMAGES

    def __init__(self, pieces: Pieces = "ask") -> None:
        self.pieces: Pieces = pieces

    @classmethod
    def recognises(cls, path: Path) -> bool:
        folders = path.parts[:-1]
        if path.suffix.lower() not in IMAGES or "types" in folders:
            return False
        if "instances" in folders:
            return True
        try:
            if path.suffix.lower() == ".npy":
                return map_array(path).ndim == 2
            open_regular(path).close()
            with open_image(path) as image:
                return image.mode in MODES and image.mode != "P"  # also used by plain images
        except UnreadablePatch:
            return False

    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        types = _find_types(path)
        instances = _image(path, shape)
        option = f"label-images:pieces=each ({path.name})"
        instances, origin = separate_pieces(instances, self.pieces, option)
        if types is None:
            return TypedInstances(instances, dict.fromkeys(origin))
        if types.suffix.lower() in IMAGES:
            return TypedInstances(instances, majority_types(instances, _image(types, shape)))
        table = _table(types)
        if self.pieces == "each":
            table = {number: table[old] for number, old in origin.items() if old in table}
        return TypedInstances(instances, table)


def _find_types(path: Path) -> Path | None:
    """The file in `types` that belongs to a file in `instances`; None without such folders."""
    parts = list(path.parts)
    positions = [k for k, part in enumerate(parts[:-1]) if part == "instances"]
    if not positions:
        return None
    parts[positions[-1]] = "types"
    if not Path(*parts[: positions[-1] + 1]).is_dir():
        return None
    expected = Path(*parts)
    files = [
        file
        for file in sorted(expected.parent.glob("*"))
        if file.stem == expected.stem and file.suffix.lower() in IMAGES + TABLES
    ]
    if not files:
        raise UnreadablePatch(f"no types: types/{expected.stem} is missing for {path.name}; add it")
    if len(files) > 1:
        names = " and ".join(f"types/{file.name}" for file in files[:2])
        raise UnreadablePatch(f"several types: both {names} exist; keep one")
    return files[0]


def _image(path: Path, shape: tuple[int, int]) -> Mask:
    name = f"{path.parent.name}/{path.name}"
    open_regular(path).close()
    if path.suffix.lower() == ".npy":
        array = map_array(path)
        check_mask(array, shape, name)
        return to_int32(array, name)
    with open_image(path) as image:
        if image.mode in ("1", "LA"):
            raise UnreadablePatch(f"not a mask: {name} has mode {image.mode}; number the nuclei")
        if image.mode not in MODES:
            raise UnreadablePatch(f"colour mask: {name} has mode {image.mode}; store numbers")
        if image.format == "JPEG":
            raise UnreadablePatch(f"lossy mask: {name} is a JPEG; store a png")
        if getattr(image, "n_frames", 1) > 1:
            raise UnreadablePatch(f"several pages: {name} has more than one page; store one")
        check_size(upright_shape(image), shape)  # before decoding
        array = np.asarray(upright(image))
    check_size(array.shape, shape)  # again, because Pillow rotates a TIFF while decoding
    return to_int32(array, name)


def _table(path: Path) -> dict[int, RawType | None]:
    name = f"types/{path.name}"
    content = read_regular(path)
    types: dict[int, RawType | None] = {}
    try:
        for key, kind in _csv(content) if path.suffix.lower() == ".csv" else _json(content):
            number = _number(key)
            if number in types:
                raise UnreadablePatch(f"several types: {name} lists id {number} twice; keep one")
            types[number] = parse_type(kind, number)
    # A damaged table, or a file of another kind with this name.
    except (ValueError, TypeError, KeyError, OverflowError, csv.Error) as error:
        raise UnreadablePatch(
            f"unreadable: {name} is not a table of instance and type; give it these columns"
        ) from error
    return types


def _csv(content: bytes) -> Iterable[tuple[Any, Any]]:
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    return [(row["instance"], row["type"]) for row in rows]


def _json(content: bytes) -> Iterable[tuple[Any, Any]]:
    table = parse_foreign_json(content)
    if isinstance(table, dict):
        return table.items()
    return [(row["instance"], row["type"]) for row in table]


def _number(value: Any) -> int:
    """Parse a whole number, also if it is written as 2.0."""
    if isinstance(value, bool) or not float(value).is_integer():
        raise ValueError(value)
    return int(float(value))
