"""Readers of foreign documents: any error in one raises a `ValueError` of one line."""

import json
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import yaml

from morefromless.errors import one_line
from morefromless.regular import MAX_FILE_BYTES, read_bytes, too_large

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

GZIP_MAGIC, ZLIB_MAGIC = b"\x1f\x8b", b"\x78"
"""First bytes of compressed files."""


def read_json(path: Path, kind: type[T]) -> T:
    """Read JSON of a type. Raises `OSError`, and `ValueError` for any error in the content."""
    return parse_json(read_bytes(path), kind)


def parse_json(content: bytes | str, kind: type[T]) -> T:
    """Parse JSON of a type. Raises `ValueError` for any error, including repeated keys of an
    object.

    >>> parse_json('{"lr": 0.1}', dict[str, float])
    {'lr': 0.1}
    >>> parse_json('{"lr": 0.1, "lr": 1}', dict[str, float])
    Traceback (most recent call last):
    morefromless.documents.RepeatedKey: it has 'lr' twice
    """
    parse_foreign_json(content, None)  # msgspec would use the last of two
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ValueError(_line(error)) from error


def parse_foreign_json(content: bytes | str, unique: Collection[str] | None = ()) -> Any:
    """Parse JSON of other programs; any structure is accepted, and NaN, which QuPath writes.

    An object with a repeated key of `unique` (None: any key) is rejected, because one value would
    be lost. Raises `ValueError`, for a repeated key `RepeatedKey`.
    """

    def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            names = [name for name, _ in pairs if unique is None or name in unique]
            repeated = next((name for name in names if names.count(name) > 1), None)
            if repeated is not None:
                raise RepeatedKey(repeated)
        return values

    hook = None if unique == () else unique_keys
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        return json.loads(text, object_pairs_hook=hook)
    except RepeatedKey:
        raise
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(_line(error)) from error


class RepeatedKey(ValueError):
    """A repeated key of an object."""

    def __init__(self, key: str) -> None:
        super().__init__(f"it has '{one_line(key)[:60]}' twice")
        self.key = key


def decompress(data: bytes, path: Path) -> bytes:
    """Return the content of the file at `path`, whose bytes may be compressed by gzip or zlib.

    Raises `ValueError` if they are damaged, `UnreadablePatch` if the content is too large.

    >>> import gzip
    >>> decompress(gzip.compress(b"{}"), Path("a.geojson.gz"))
    b'{}'
    """
    if not data.startswith((GZIP_MAGIC, ZLIB_MAGIC)):
        return data
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)  # detects gzip or zlib
    try:
        content = stream.decompress(data, MAX_FILE_BYTES)
    except zlib.error as error:
        raise ValueError(_line(error)) from error
    if stream.unconsumed_tail:
        raise too_large(path)
    if not stream.eof:
        raise ValueError("cut short")
    return content


def parse_yaml(content: bytes) -> Any:
    """Parse YAML with the safe loader. Raises `ValueError` for any error.

    >>> parse_yaml(b"{lr: 0.1}")
    {'lr': 0.1}
    """
    try:
        return yaml.safe_load(content)
    except Exception as error:  # PyYAML raises many types, KeyError for `!!bool x`
        raise ValueError(f"not valid YAML: {_line(error)}") from error


def read_parquet(path: Path) -> "pd.DataFrame":
    """Read a table in Parquet. Raises `OSError`, and `ValueError` for any error in the content."""
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except OSError:
        raise
    except Exception as error:  # PyArrow has its own error types
        raise ValueError(_line(error)) from error


def _line(error: Exception) -> str:
    return one_line(str(error)) or type(error).__name__
