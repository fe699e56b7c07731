"""TIAToolbox's annotation store: an SQLite file."""

import sqlite3
import struct
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import shapely

from morefromless.data.outlines import Polygon
from morefromless.data.polygons import fill
from morefromless.data.schemes import RawType
from morefromless.documents import parse_foreign_json
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat, TypedInstances
from morefromless.nuclei_formats._files import parse_type, plain
from morefromless.regular import LARGEST, open_regular, too_large

POLYGON, MULTIPOLYGON = 3, 6
"""Type words of well-known binary, for coordinates in the plane."""

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
            with open_regular(path) as file:
                return file.read(len(_SIGN)) == _SIGN
        except (UnreadablePatch, OSError):
            return False

    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        open_regular(path).close()
        address = f"file:{quote(str(path.resolve()))}?mode=ro"
        try:
            with closing(sqlite3.connect(address, uri=True)) as store:
                store.execute("PRAGMA trusted_schema = OFF")
                compression, rows = _annotations(store, path)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise UnreadablePatch(
                f"unreadable: {path.name} is no sound SQLite file ({plain(str(error))}); write it "
                "again"
            ) from error
        blobs = _decompress_geometries([blob for blob, _ in rows], compression, path)
        types = {number: _type(text, number) for number, (_, text) in enumerate(rows, 1)}
        return TypedInstances(fill(_outlines(blobs), shape, "centres"), types)


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
    row = store.execute("SELECT value FROM metadata WHERE [key] = 'compression'").fetchone()
    compression = _json(row[0] if row else b"null", "its metadata")
    if compression not in (None, "zlib"):
        raise UnreadablePatch(
            f"unreadable: geometries are packed with {plain(compression)}; use zlib or None"
        )
    (size,) = store.execute(
        "SELECT total(ifnull(length(geometry), 0) + ifnull(length(properties), 0)) FROM annotations"
    ).fetchone()
    if size > LARGEST:
        raise UnreadablePatch(
            f"too large: {path.name} holds {size / 2**20:,.0f} MiB; write each image's by itself"
        )
    return compression, store.execute(
        "SELECT geometry, properties FROM annotations ORDER BY id"
    ).fetchall()


def _decompress_geometries(blobs: list[Any], compression: str | None, path: Path) -> list[bytes]:
    """The geometries, each of which is a polygon or several; nothing else reaches shapely."""
    geometries, total = [], 0
    for number, blob in enumerate(blobs, 1):
        if blob is None:  # how the store keeps points
            raise UnreadablePatch(f"not a polygon: nucleus {number} is a point; export outlines")
        if not isinstance(blob, bytes):
            raise UnreadablePatch(f"unreadable: nucleus {number} has no geometry in bytes")
        if compression is not None:
            stream = zlib.decompressobj()
            try:
                # An outline of a million points; a blob that unpacks to more is cut, and refused.
                blob = stream.decompress(blob, 2**24)
            except zlib.error as error:
                raise UnreadablePatch(
                    f"unreadable: the geometry of nucleus {number} is damaged"
                ) from error
            if not stream.eof:
                raise UnreadablePatch(
                    f"unreadable: the geometry of nucleus {number} is truncated or too large"
                )
        total += len(blob)
        if total > LARGEST:
            raise too_large(path)
        _check_areas(blob, number)
        geometries.append(blob)
    return geometries


def _check_areas(blob: bytes, number: int) -> None:
    """Refuse what is neither a polygon nor several, without following any nesting."""
    try:
        kind, at = _header(blob, 0)
        if kind == POLYGON:
            _skip_rings(blob, at)
        elif kind == MULTIPOLYGON:
            order = "<" if blob[0] else ">"
            (count,) = struct.unpack_from(order + "I", blob, at)
            at += 4
            for _ in range(count):
                kind, at = _header(blob, at)
                if kind != POLYGON:
                    raise ValueError(kind)
                at = _skip_rings(blob, at)
        elif kind in range(1, 18):
            raise UnreadablePatch(
                f"not a polygon: nucleus {number} is a point, a line or a mixture; export outlines"
            )
        else:
            raise ValueError(kind)
    except (struct.error, ValueError, IndexError) as error:
        raise UnreadablePatch(
            f"unreadable: the geometry of nucleus {number} is no well-known binary"
        ) from error


def _header(blob: bytes, at: int) -> tuple[int, int]:
    """Type of the plane geometry at a place, and where its content begins."""
    if blob[at] not in (0, 1):
        raise ValueError("byte order")
    (kind,) = struct.unpack_from("<I" if blob[at] else ">I", blob, at + 1)
    return kind, at + 5


def _skip_rings(blob: bytes, at: int) -> int:
    """Where the polygon ends whose header ends at a place."""
    order = "<" if blob[at - 5] else ">"
    (rings,) = struct.unpack_from(order + "I", blob, at)
    at += 4
    for _ in range(rings):
        (points,) = struct.unpack_from(order + "I", blob, at)
        at += 4 + 16 * points
        if at > len(blob):
            raise ValueError("truncated")
    return at


def _outlines(blobs: list[bytes]) -> list[list[Polygon]]:
    geometries: npt.NDArray[Any] = shapely.from_wkb(
        np.array([*blobs, None], object)[:-1], on_invalid="ignore"
    )
    missing = shapely.is_missing(geometries)
    if missing.any():
        raise UnreadablePatch(
            f"unreadable: the geometry of nucleus {missing.argmax() + 1} is no well-known binary"
        )
    return [
        [
            [shapely.get_coordinates(ring) for ring in shapely.get_rings(part)]
            for part in shapely.get_parts(geometry)
        ]
        for geometry in geometries
    ]


def _type(text: Any, number: int) -> RawType | None:
    properties = _json(text, f"nucleus {number}")
    return parse_type(properties.get("type") if isinstance(properties, dict) else None, number)


def _json(text: Any, whose: str) -> Any:
    try:
        return parse_foreign_json(text)
    except (ValueError, TypeError) as error:
        raise UnreadablePatch(f"unreadable: the properties of {whose} are not JSON") from error
