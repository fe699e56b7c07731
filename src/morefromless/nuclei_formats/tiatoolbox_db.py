"""TIAToolbox's annotation store: an SQLite file."""

import json
import sqlite3
import zlib
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import shapely

from morefromless.data import polygons
from morefromless.data.schemes import RawType
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat, TypedInstances
from morefromless.nuclei_formats._files import LARGEST, parse_type, plain

POLYGON, MULTIPOLYGON = shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON

_SIGN = b"SQLite format 3\0"


class TiatoolboxDb(NucleiFormat):
    """What TIAToolbox's HoVer-Net writes as an AnnotationStore (`.db`), one for each image.

    An annotation is a nucleus: a polygon through pixel centres (`data.polygons`), and its property
    `type`, a name or a number. They are numbered from 1 in the order of their ids. Contours that
    touch themselves, which TIAToolbox widens by 0.01 px, come back as the pixels that they were.

    A store does not say its scale: TIAToolbox writes pixels of the image's baseline, so that other
    ones come out of bounds, or shrunken into a corner. The file is opened read-only, and neither
    its views nor its triggers are used.
    """

    suffixes = (".db",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        try:
            with path.open("rb") as file:
                return file.read(len(_SIGN)) == _SIGN
        except OSError:
            return False

    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        if not path.is_file():
            raise UnreadablePatch(f"no segmentation: there is no {path.name}")
        address = f"file:{quote(str(path.resolve()))}?mode=ro"
        try:
            with closing(sqlite3.connect(address, uri=True)) as store:
                store.execute("PRAGMA trusted_schema = OFF")
                compression, rows = _annotations(store, path)
        except sqlite3.Error as error:
            raise UnreadablePatch(
                f"unreadable: {path.name} is no sound SQLite file ({plain(str(error))}); write it "
                "again"
            ) from error
        blobs = [_unpacked(blob, compression, number) for number, (blob, _) in enumerate(rows, 1)]
        types = {number: _type(text, number) for number, (_, text) in enumerate(rows, 1)}
        return TypedInstances(polygons.fill(_outlines(blobs), shape, "centres"), types)


def _annotations(store: sqlite3.Connection, path: Path) -> tuple[Any, list[tuple[Any, Any]]]:
    """How geometries are compressed, and geometry and properties of each annotation."""
    store.text_factory = bytes
    named = store.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    tables = {name for name, sql in named if not (sql or b"").upper().startswith(b"CREATE VIRTUAL")}
    if not {b"annotations", b"metadata"} <= tables:
        raise UnreadablePatch(
            f"unreadable: {path.name} is not an annotation store of TIAToolbox; write it with "
            "output_type='annotationstore'"
        )
    found = store.execute("SELECT value FROM metadata WHERE [key] = 'compression'").fetchone()
    compression = _json(found[0] if found else b"null", "its metadata")
    if compression not in (None, "zlib"):
        raise UnreadablePatch(
            f"unreadable: geometries are packed with {plain(compression)}; use zlib or None"
        )
    (size,) = store.execute("SELECT total(length(geometry)) FROM annotations").fetchone()
    if size > LARGEST:
        raise UnreadablePatch(
            f"too large: {path.name} holds {size / 2**20:,.0f} MiB of outlines; write each image's "
            "by itself"
        )
    return compression, store.execute(
        "SELECT geometry, properties FROM annotations ORDER BY id"
    ).fetchall()


def _unpacked(blob: Any, compression: str | None, number: int) -> bytes:
    if blob is None:  # how the store keeps points
        raise UnreadablePatch(f"not a polygon: nucleus {number} is a point; export outlines")
    if not isinstance(blob, bytes):
        raise UnreadablePatch(f"unreadable: nucleus {number} has no geometry in bytes")
    if compression is None:
        return blob
    packed = zlib.decompressobj()
    try:
        # An outline of a million points; a blob that unpacks to more is cut, and so refused.
        held = packed.decompress(blob, 2**24)
    except zlib.error as error:
        raise UnreadablePatch(f"unreadable: the geometry of nucleus {number} is damaged") from error
    if not packed.eof:
        raise UnreadablePatch(
            f"unreadable: the geometry of nucleus {number} is truncated or too large"
        )
    return held


def _outlines(blobs: list[bytes]) -> list[list[polygons.Polygon]]:
    outlines: list[list[polygons.Polygon]] = []
    for number, geometry in enumerate(_geometries(blobs), 1):
        if shapely.get_type_id(geometry) not in (POLYGON, MULTIPOLYGON):
            raise UnreadablePatch(
                f"not a polygon: nucleus {number} is a point, a line or a mixture; export outlines"
            )
        outlines.append(
            [
                [shapely.get_coordinates(ring) for ring in shapely.get_rings(part)]
                for part in shapely.get_parts(geometry)
            ]
        )
    return outlines


def _geometries(blobs: list[bytes]) -> Iterable[Any]:
    found: npt.NDArray[Any] = shapely.from_wkb(
        np.array([*blobs, None], object)[:-1], on_invalid="ignore"
    )
    missing = shapely.is_missing(found)
    if missing.any():
        raise UnreadablePatch(
            f"unreadable: the geometry of nucleus {missing.argmax() + 1} is no well-known binary"
        )
    return found


def _type(text: Any, number: int) -> RawType | None:
    properties = _json(text, f"nucleus {number}")
    return parse_type(properties.get("type") if isinstance(properties, dict) else None, number)


def _json(text: Any, whose: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise UnreadablePatch(f"unreadable: the properties of {whose} are not JSON") from error
