"""Point labels: a table with the position and type of each nucleus."""

import csv
import io
import math
from pathlib import Path

import numpy as np

from morefromless.data.outlines import MAX_OUTSIDE
from morefromless.data.schemes import RawType
from morefromless.errors import ConfigError, UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat, TypedInstances
from morefromless.nuclei_formats._files import parse_type, printable, read_head
from morefromless.regular import read_regular

X_COLUMNS, Y_COLUMNS = ("x", "centroid_x", "centroid_x_px"), ("y", "centroid_y", "centroid_y_px")
TYPE_COLUMNS = ("type", "class", "label", "classification", "cell_type", "name")
"""Names of columns, not case-sensitive; the first name that exists is used."""


class Points(NucleiFormat):
    """A csv or tsv of one image, with the columns `x`, `y` (px) and `type`; one row per nucleus.

    A point is drawn as a disc of `radius` px around its pixel. If discs overlap, a pixel belongs to
    the nearest point, or to the first of equally near points. Without a type column, nuclei have no
    type.
    """

    suffixes = (".csv", ".tsv")

    def __init__(self, radius: float = 3.0) -> None:
        if not 0 <= radius <= 100:
            raise ConfigError(f"points has no radius={radius}; give 0 to 100 px.")
        self.radius = radius

    @classmethod
    def recognises(cls, path: Path) -> bool:
        first = read_head(path).partition("\n")[0]
        if "types" in path.parts[:-1] or "\0" in first:
            return False
        columns = _columns(first.rstrip("\r").split(_separator(first)))
        return "x" in columns and "y" in columns

    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        points, types = _table(path)
        return TypedInstances(_discs(points, shape, self.radius), types)


def _separator(first: str) -> str:
    return "\t" if "\t" in first else ";" if ";" in first else ","


def _columns(names: list[str]) -> dict[str, int]:
    """Positions of x, y and the type among a table's columns."""
    folded = [name.strip().strip('"').lower().replace(" ", "_") for name in names]
    synonyms = {"x": X_COLUMNS, "y": Y_COLUMNS, "type": TYPE_COLUMNS}
    return {
        key: folded.index(next(name for name in known if name in folded))
        for key, known in synonyms.items()
        if any(name in folded for name in known)
    }


def _table(path: Path) -> tuple[list[tuple[float, float]], dict[int, RawType | None]]:
    points: list[tuple[float, float]] = []
    types: dict[int, RawType | None] = {}
    try:
        text = read_regular(path).decode("utf-8-sig")
        separator = _separator(text.partition("\n")[0])
        header, *rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
        columns = _columns(header)
        for row in rows:
            if not row:
                continue
            point = float(row[columns["x"]]), float(row[columns["y"]])
            if not all(map(math.isfinite, point)):
                raise ValueError(point)
            points.append(point)
            cell = row[columns["type"]].strip() if "type" in columns else ""
            types[len(points)] = parse_type(cell, len(points))
    except (ValueError, LookupError, csv.Error) as error:
        raise UnreadablePatch(
            f"unreadable: {path.name} is not a table of points ({printable(str(error))}); give it "
            "the columns x, y and type"
        ) from error
    return points, types


def _discs(
    points: list[tuple[float, float]], shape: tuple[int, int], radius: float
) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    """Instance map (H, W) of points x, y numbered from 1.

    >>> _discs([(1, 1), (3, 1)], (3, 5), radius=1)
    array([[0, 1, 0, 2, 0],
           [1, 1, 1, 2, 2],
           [0, 1, 0, 2, 0]], dtype=int32)
    """
    height, width = shape
    instances = np.zeros((height, width), np.int32)
    if not points:
        return instances
    x, y = np.array(points).T
    beyond = np.maximum.reduce([-x, -y, x - width, y - height])
    if (worst := int(beyond.argmax())) >= 0 and beyond[worst] > MAX_OUTSIDE:
        raise UnreadablePatch(
            f"out of bounds: nucleus {worst + 1} is {math.ceil(beyond[worst]):,} px outside the "
            f"image of {width} x {height}; check that the file belongs to this image, at this "
            "magnification"
        )
    column = np.clip(np.floor(x), 0, width - 1).astype(np.int64)
    row = np.clip(np.floor(y), 0, height - 1).astype(np.int64)
    _, first, counts = np.unique(row * width + column, return_index=True, return_counts=True)
    if (counts > 1).any():
        number = int(first[counts > 1][0]) + 1
        raise UnreadablePatch(
            f"overlapping nuclei: nucleus {number} is in the same pixel as another; list each "
            "nucleus once"
        )
    reach = min(int(radius), max(height, width))
    nearest = np.full((height, width), np.inf)
    numbers = np.arange(1, len(points) + 1, dtype=np.int32)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            distance = math.hypot(down, right)
            if distance > radius:
                continue
            rows, columns = row + down, column + right
            inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
            at = rows[inside], columns[inside]
            earlier = (distance == nearest[at]) & (numbers[inside] < instances[at])
            closer = (distance < nearest[at]) | earlier
            at = at[0][closer], at[1][closer]
            instances[at], nearest[at] = numbers[inside][closer], distance
    return instances
