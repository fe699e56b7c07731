"""CellViT's `cells.json`, one file per image."""

import re
from pathlib import Path
from typing import Any

from morefromless.data.outlines import Polygon, ring
from morefromless.data.polygons import fill
from morefromless.data.schemes import RawType
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat, TypedInstances
from morefromless.nuclei_formats._files import parse_type, read_head, read_json

_START = re.compile(r'\s*\{\s*"(wsi_metadata|processed_patches|type_map|cells)"\s*:')


class Cellvit(NucleiFormat):
    """`cells.json` of CellViT and CellViT++: a list `cells`, each with `contour` (n, 2) x, y
    through pixel centres (`data.polygons`) and `type`, a number that `type_map` maps to a name.

    Nuclei are numbered from 1 in the file's order. Contours are in pixels of the image's finest
    level. `cell_detection.json` is not read, because it has no contours. CellViT's GeoJSON is read
    as GeoJSON.
    """

    suffixes = (".json",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        if path.stem.endswith("cell_detection"):
            return False
        return _START.match(read_head(path)) is not None

    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        keys = {"cells", "type_map", "contour", "type"}
        content = read_json(path, keys)
        cells = content.get("cells") if isinstance(content, dict) else None
        if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
            raise UnreadablePatch(
                f"unreadable: {path.name} has no list of cells as written by CellViT; export it "
                "again"
            )
        names: Any = content.get("type_map")
        outlines: list[list[Polygon]] = []
        types: dict[int, RawType | None] = {}
        for number, cell in enumerate(cells, 1):
            outlines.append([[ring(cell.get("contour"), number)]])
            kind = cell.get("type")
            named = names.get(str(kind), kind) if isinstance(names, dict) else kind
            types[number] = parse_type(named, number)
        return TypedInstances(fill(outlines, shape, "centres"), types)
