"""Read numeric arrays of MATLAB level 5 files (v5 to v7).

SciPy's reader is not used because it crashes the whole process on some damaged files.
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

HEADER_BYTES = 128
MAX_VARIABLE_BYTES = 2**28
"""Maximum size of a variable in bytes; a compressed file could otherwise unpack to any size."""

_MATRIX, _COMPRESSED = 14, 15
_DTYPES = {
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
"""Array classes of numbers: not cells, structs, text or sparse matrices."""


def read_variables(
    content: bytes, names: Collection[str], limit: int = MAX_VARIABLE_BYTES
) -> dict[str, npt.NDArray[Any]]:
    """Read the named variables that hold real numbers from the bytes of a file.

    Each array has two or more dimensions and the stored type, which may be narrower than the type
    in MATLAB but has the same values. Raises `NotImplementedError` for v7.3, `OverflowError` if the
    header of a variable states more than `limit` bytes, and `ValueError` for all other invalid or
    damaged files.
    """
    order = {b"IM": "<", b"MI": ">"}.get(content[HEADER_BYTES - 2 : HEADER_BYTES])
    if order is None:
        raise ValueError("no header")
    (version,) = struct.unpack_from(order + "H", content, HEADER_BYTES - 4)
    if version == 0x0200:
        raise NotImplementedError
    if version != 0x0100:
        raise ValueError("no header")
    arrays = {}
    try:
        for kind, data in _elements(memoryview(content)[HEADER_BYTES:], order):
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
    """Yield type and content of each element."""
    offset = 0
    while offset < len(data):
        kind, size = struct.unpack_from(order + "II", data, offset)
        if kind >> 16:  # short form: up to four bytes of content within the tag's eight bytes
            size, kind = kind >> 16, kind & 0xFFFF
            start, next_offset = offset + 4, offset + 8
        else:
            start = offset + 8
            # All elements except compressed ones are padded to multiples of eight bytes.
            next_offset = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > len(data):
            raise ValueError("truncated")
        yield kind, data[start : start + size]
        offset = next_offset


def _decompress(
    data: memoryview, order: str, names: Collection[str], limit: int
) -> tuple[int, memoryview]:
    """Type and content of a compressed element; (0, empty) if the variable is not requested."""
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
    if not stream.eof:  # at eof, the checksum was verified too
        raise ValueError("truncated, or too large")
    return next(_elements(memoryview(unpacked), order))


def _matrix(
    data: memoryview, order: str, names: Collection[str]
) -> tuple[str, npt.NDArray[Any] | None]:
    """Name and values of an array; the values are None if not requested or not real numbers."""
    parts = _elements(data, order)
    (_, flags), (_, extents), (_, name_bytes) = next(parts), next(parts), next(parts)
    name = str(name_bytes, "latin-1")
    (bits,) = struct.unpack_from(order + "I", flags)
    if name not in names or bits & 0xFF not in _NUMERIC or bits & 0x800:
        return name, None
    shape = struct.unpack(f"{order}{len(extents) // 4}i", extents)
    if math.prod(shape) == 0 and min(shape, default=-1) >= 0:
        return name, np.empty(shape)  # empty arrays may be written without content
    stored, content = next(parts)
    values = np.frombuffer(content, order + _DTYPES[stored])
    if len(shape) < 2 or min(shape) < 0 or math.prod(shape) != len(values):
        raise ValueError("damaged")
    return name, values.reshape(shape, order="F")
