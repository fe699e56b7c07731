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
from morefromless.regular import MAX_FILE_BYTES, open_regular, too_large

POLYGON, MULTIPOLYGON = 3, 6
"""Type codes of well-known binary (WKB) for 2D coordinates."""

_SIGN = b"SQLite format 3\0"


class TiatoolboxDb(NucleiFormat):
    """AnnotationStore (`.db`) of TIAToolbox's HoVer-Net, one per image.

    An annotation is a nucleus: a polygon through pixel centres (`data.polygons`), with a property
    `type`, a name or a number. Nuclei are numbered from 1 in the order of their ids. Contours that
    touch themselves, which TIAToolbox widens by 0.01 px, give the original pixels.

    A store does not state its scale. TIAToolbox writes pixels of the image's finest level, so
    nuclei of another scale are out of bounds or too small. The file is opened read-only, and its
    views and triggers are not used.
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
                f"unreadable: {path.name} is not a valid SQLite file ({plain(str(error))}); write "
                "it again"
            ) from error
        blobs = _decompress_geometries([blob for blob, _ in rows], compression, path)
        types = {number: _type(text, number) for number, (_, text) in enumerate(rows, 1)}
        return TypedInstances(fill(_outlines(blobs), shape, "centres"), types)


def _annotations(store: sqlite3.Connection, path: Path) -> tuple[Any, list[tuple[Any, Any]]]:
    """The compression of geometries, and the geometry and properties of each annotation."""
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
            f"unreadable: geometries are compressed with {plain(compression)}; use zlib or None"
        )
    (size,) = store.execute(
        "SELECT total(ifnull(length(geometry), 0) + ifnull(length(properties), 0)) FROM annotations"
    ).fetchone()
    if size > MAX_FILE_BYTES:
        raise UnreadablePatch(
            f"too large: {path.name} contains {size / 2**20:,.0f} MiB; write one store per image"
        )
    return compression, store.execute(
        "SELECT geometry, properties FROM annotations ORDER BY id"
    ).fetchall()


def _decompress_geometries(blobs: list[Any], compression: str | None, path: Path) -> list[bytes]:
    """Decompress geometries, and check that each is a polygon or multipolygon, before shapely."""
    geometries, total = [], 0
    for number, blob in enumerate(blobs, 1):
        if blob is None:  # the store represents points like this
            raise UnreadablePatch(f"not a polygon: nucleus {number} is a point; export outlines")
        if not isinstance(blob, bytes):
            raise UnreadablePatch(f"unreadable: nucleus {number} has no geometry in bytes")
        if compression is not None:
            stream = zlib.decompressobj()
            try:
                # Limit: an outline of a million points. Larger geometries are cut, then refused.
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
        if total > MAX_FILE_BYTES:
            raise too_large(path)
        _check_areas(blob, number)
        geometries.append(blob)
    return geometries


def _check_areas(blob: bytes, number: int) -> None:
    """Refuse geometries other than polygons and multipolygons, without recursion."""
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
            f"unreadable: the geometry of nucleus {number} is not well-known binary"
        ) from error


def _header(blob: bytes, at: int) -> tuple[int, int]:
    """Type code of the geometry at offset `at`, and the offset of its content."""
    if blob[at] not in (0, 1):
        raise ValueError("byte order")
    (kind,) = struct.unpack_from("<I" if blob[at] else ">I", blob, at + 1)
    return kind, at + 5


def _skip_rings(blob: bytes, at: int) -> int:
    """Offset of the end of a polygon whose header ends at offset `at`."""
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
            f"unreadable: the geometry of nucleus {missing.argmax() + 1} is not well-known binary"
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
