"""Numbers in MATLAB files of level 5 (v5 to v7). Written here as SciPy's reader crashes, and with
it the whole run, on some damaged files.
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

HEADER = 128
LARGEST = 2**28
"""Bytes that one variable may take; compressed files could otherwise unpack to anything."""

_MATRIX, _COMPRESSED = 14, 15
_STORED = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_NUMERIC = range(6, 16)
"""Classes of arrays that hold numbers: not cells, structs, text or sparse matrices."""


def variables(
    content: bytes, names: Collection[str], limit: int = LARGEST
) -> dict[str, npt.NDArray[Any]]:
    """Those of the named variables of a file's bytes that hold real numbers.

    Each has two or more dimensions, and the type as stored, which may be narrower than MATLAB's
    and has the same values. Raises `NotImplementedError` for v7.3, `OverflowError` for a variable
    whose header names more than `limit` bytes, and `ValueError` for any other bytes that are not
    such a file, damaged ones included.
    """
    order = {b"IM": "<", b"MI": ">"}.get(content[HEADER - 2 : HEADER])
    if order is None:
        raise ValueError("no header")
    (version,) = struct.unpack_from(order + "H", content, HEADER - 4)
    if version == 0x0200:
        raise NotImplementedError
    if version != 0x0100:
        raise ValueError("no header")
    arrays = {}
    try:
        for kind, data in _elements(memoryview(content)[HEADER:], order):
            if kind == _COMPRESSED:
                kind, data = _decompress(data, order, names, limit)
            if kind == _MATRIX:
                name, values = _matrix(data, order, names)
                if values is not None:
                    arrays[name] = values
    except (struct.error, zlib.error, StopIteration, KeyError) as error:
        raise ValueError("damaged") from error
    return arrays


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and content of each element, one after the other."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(order + "II", data, at)
        if kind >> 16:  # the short form: up to four bytes, within the eight of the tag
            size, kind = kind >> 16, kind & 0xFFFF
            start, after = at + 4, at + 8
        else:
            start = at + 8
            # Only compressed elements are not filled up to eight bytes.
            after = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > len(data):
            raise ValueError("truncated")
        yield kind, data[start : start + size]
        at = after


def _decompress(
    data: memoryview, order: str, names: Collection[str], limit: int
) -> tuple[int, memoryview]:
    """Type and content of a compressed element; none of a variable that is not asked for."""
    head = memoryview(zlib.decompressobj().decompress(data, 1024))
    kind, size = struct.unpack_from(order + "II", head)
    if kind == _MATRIX:
        *_, (_, name) = islice(_elements(head[8:], order), 3)
        if str(name, "latin-1") not in names:
            return 0, memoryview(b"")
    if size > limit:
        raise OverflowError(size)
    stream = zlib.decompressobj()
    unpacked = stream.decompress(data, size + 64)
    if not stream.eof:  # which also says that the checksum is right
        raise ValueError("truncated, or too large")
    return next(_elements(memoryview(unpacked), order))


def _matrix(
    data: memoryview, order: str, names: Collection[str]
) -> tuple[str, npt.NDArray[Any] | None]:
    """Name of an array and its values; None where they are not wanted or not real numbers."""
    parts = _elements(data, order)
    (_, flags), (_, extents), (_, name_bytes) = next(parts), next(parts), next(parts)
    name = str(name_bytes, "latin-1")
    (bits,) = struct.unpack_from(order + "I", flags)
    if name not in names or bits & 0xFF not in _NUMERIC or bits & 0x800:
        return name, None
    shape = struct.unpack(f"{order}{len(extents) // 4}i", extents)
    if math.prod(shape) == 0 and min(shape, default=-1) >= 0:
        return name, np.empty(shape)  # which may be written without content
    stored, content = next(parts)
    values = np.frombuffer(content, order + _STORED[stored])
    if len(shape) < 2 or min(shape) < 0 or math.prod(shape) != len(values):
        raise ValueError("damaged")
    return name, values.reshape(shape, order="F")
