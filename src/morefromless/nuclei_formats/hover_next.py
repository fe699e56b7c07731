"""HoVer-NeXt's `pinst_pp.zip`, with `class_inst.json` in the same folder."""

import importlib
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from morefromless.data.masks import check_size, to_int32
from morefromless.data.schemes import RawType
from morefromless.documents import parse_json
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat, TypedInstances
from morefromless.nuclei_formats._files import parse_type, read_json
from morefromless.regular import open_regular

NAME = "pinst_pp.zip"
_DTYPE = re.compile(r"[<>|][iu][1248]")
_CODECS = ("blosc", "zstd", "lz4", "zlib", "gzip")


class HoverNext(NucleiFormat):
    """Output of HoVer-NeXt for an image: `pinst_pp.zip`, a Zarr array (H, W) of instances, and
    `class_inst.json` in the same folder: `{"1": [class, [y, x]], ...}`.

    The array must have the image's own size. Compressed chunks need numcodecs (`pip install
    numcodecs`), except for zlib and gzip. The outlines of `poly.geojson`, an optional output of
    HoVer-NeXt, are read as GeoJSON.
    """

    suffixes = (".zip",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.name.lower() == NAME

    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        try:
            with open_regular(path) as file, zipfile.ZipFile(file) as archive:
                instances = to_int32(_array(archive, shape), path.name)
        except (
            zipfile.BadZipFile,
            zlib.error,
            LookupError,
            ValueError,
            TypeError,
            AttributeError,
            RuntimeError,  # also deep nesting, and files with a password
            OverflowError,
            OSError,
            EOFError,
        ) as error:
            raise UnreadablePatch(
                f"unreadable: {path.name} is not a valid Zarr array of instances; write it again"
            ) from error
        table = read_json(path.with_name("class_inst.json"))
        types: dict[int, RawType | None] = {}
        try:
            for key, (kind, *_) in table.items():
                types[int(key)] = parse_type(kind, int(key))
        except (ValueError, TypeError, AttributeError) as error:
            raise UnreadablePatch(
                "unreadable: class_inst.json is not a table of classes as written by HoVer-NeXt"
            ) from error
        return TypedInstances(instances, types)


def _array(archive: zipfile.ZipFile, shape: tuple[int, int]) -> npt.NDArray[Any]:
    """Read a Zarr array of version 2; the header is checked before any chunk is decompressed."""
    entry = archive.getinfo(".zarray")
    if entry.file_size > 2**16:
        raise ValueError("header")
    header = parse_json(archive.read(entry), dict[str, Any])
    size, chunk, codec = tuple(header["shape"]), tuple(header["chunks"]), header["compressor"]
    if len(size) == 3 and size[0] == 1:  # HoVer-NeXt writes an image as a stack of one
        size, chunk = size[1:], chunk[1:]
    if len(size) != 2 or len(chunk) != 2 or not all(type(n) is int and n > 0 for n in chunk):
        raise ValueError("shape")
    check_size(size, shape)
    if not _DTYPE.fullmatch(header["dtype"]) or header.get("filters") or header["order"] != "C":
        raise ValueError("numbers")
    dtype = np.dtype(header["dtype"])
    chunk_bytes = int(np.prod(chunk, dtype=object)) * dtype.itemsize
    if chunk_bytes > 64 * 8 * shape[0] * shape[1] + 2**24:
        raise ValueError("chunks")
    array = np.full(shape, header.get("fill_value") or 0, dtype)
    prefix = "0." if len(header["shape"]) == 3 else ""
    separator = header.get("dimension_separator", ".")
    for row in range(-(-shape[0] // chunk[0])):
        for column in range(-(-shape[1] // chunk[1])):
            name = f"{prefix}{row}.{column}".replace(".", separator)
            if name not in archive.NameToInfo:
                continue  # the chunk contains only the fill value
            if archive.getinfo(name).file_size > chunk_bytes + 2**16:
                raise ValueError("chunk")
            data = _decompress_chunk(archive.read(name), codec, chunk_bytes)
            values = np.frombuffer(data, dtype).reshape(chunk)
            y, x = row * chunk[0], column * chunk[1]
            part = array[y : y + chunk[0], x : x + chunk[1]]
            part[...] = values[: part.shape[0], : part.shape[1]]
    return array


def _decompress_chunk(data: bytes, codec: dict[str, Any] | None, size: int) -> bytes:
    """Decompress a chunk, which must have exactly `size` bytes."""
    if codec is None:
        return data
    if codec["id"] not in _CODECS:
        raise ValueError(codec["id"])
    if codec["id"] in ("zlib", "gzip"):
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(data, size + 1)
    # The size that the header of the chunk states, read before decompression.
    stated = int.from_bytes(data[4:8] if codec["id"] == "blosc" else data[:4], "little")
    if codec["id"] in ("blosc", "lz4") and stated != size:
        raise ValueError("size")
    try:
        numcodecs = importlib.import_module("numcodecs")
    except ImportError as error:
        raise UnreadablePatch(
            f"packed: {NAME} is compressed with {codec['id']}; install numcodecs to read it"
        ) from error
    try:
        buffer = np.empty(size, np.uint8)
        numcodecs.get_codec({"id": codec["id"]}).decode(data, out=buffer)
    except (RuntimeError, ValueError) as error:
        raise ValueError("chunk") from error
    return buffer.tobytes()
