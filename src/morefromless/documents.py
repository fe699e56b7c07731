"""Documents of other people: whatever is wrong in one is a `ValueError` of one line."""

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import yaml

from morefromless.files import LARGEST, read_bytes, too_large

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

GZIP, ZLIB = b"\x1f\x8b", b"\x78"
"""First bytes of packed files."""


def read_json(path: Path, kind: type[T]) -> T:
    """JSON of a type (msgspec). Raises `OSError`, and `ValueError` for all that is wrong in it."""
    content = read_bytes(path)
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(_line(error)) from error


def unpacked(data: bytes, path: Path) -> bytes:
    """The bytes of the file at `path`, unpacked where they are gzip or zlib.

    Raises `ValueError` where they are damaged, `UnreadablePatch` where they are too many.

    >>> import gzip
    >>> unpacked(gzip.compress(b"{}"), Path("a.geojson.gz"))
    b'{}'
    """
    if not data.startswith((GZIP, ZLIB)):
        return data
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either of the two
    try:
        content = stream.decompress(data, LARGEST)
    except zlib.error as error:
        raise ValueError(_line(error)) from error
    if stream.unconsumed_tail:
        raise too_large(path)
    if not stream.eof:
        raise ValueError("cut short")
    return content


def parse_yaml(content: bytes) -> Any:
    """YAML, by the safe loader. Raises `ValueError` with what is wrong.

    >>> parse_yaml(b"{lr: 0.1}")
    {'lr': 0.1}
    """
    try:
        return yaml.safe_load(content)
    except Exception as error:  # PyYAML raises whatever a value provokes, KeyError for `!!bool x`
        raise ValueError(f"no sound YAML: {_line(error)}") from error


def read_parquet(path: Path) -> "pd.DataFrame":
    """A table in Parquet. Raises `OSError`, and `ValueError` for all that is wrong in it."""
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except OSError:
        raise
    except Exception as error:  # PyArrow has errors of its own
        raise ValueError(_line(error)) from error


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in text)
