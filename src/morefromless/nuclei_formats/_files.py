"""Bytes, JSON, arrays and types from files that are not trusted."""

import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy.typing as npt

from morefromless.data.arrays import DAMAGED, open_npy, read_header
from morefromless.data.labels import whole_number
from morefromless.data.schemes import RawType
from morefromless.documents import GZIP, RepeatedKey, decompress, parse_foreign_json
from morefromless.errors import DataError, UnreadablePatch
from morefromless.regular import open_regular, read_regular


def head(path: Path, count: int = 2**14) -> str:
    """The first `count` bytes as text, unpacked; empty where the file cannot be read."""
    try:
        with open_regular(path) as file:
            data = file.read(count)
        if data.startswith(GZIP):
            data = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, count)
        return data.decode("utf-8-sig", "replace")
    except (UnreadablePatch, OSError, zlib.error):
        return ""


def read_json(path: Path, keys: Collection[str] | None = None) -> Any:
    """What a JSON file holds, plain or packed with gzip, with none of `keys` (by default no key)
    twice in an object. Raises `UnreadablePatch` where it is none.
    """
    data = read_regular(path)
    try:
        return parse_foreign_json(decompress(data, path), keys)
    except RepeatedKey as error:
        raise UnreadablePatch(
            f"repeated key: '{plain(error.key)}' comes twice; give each its own name"
        ) from error
    except ValueError as error:
        raise UnreadablePatch(
            f"unreadable: {path.name} is not sound JSON; export it again"
        ) from error


def map_array(path: Path) -> npt.NDArray[Any]:
    """The array of a .npy file, on disk until it is read. Raises `UnreadablePatch`."""
    if holds_objects(path):
        raise UnreadablePatch(
            f"not data: {path.name} holds a Python object, such as CellViT's label, which is not "
            "read as it can run code; if you trust it, d = np.load(file, allow_pickle=True).item() "
            "and np.save(file, np.stack([d['inst_map'], d['type_map']], -1))"
        )
    open_regular(path).close()
    try:
        return open_npy(path)
    except DataError as error:
        raise UnreadablePatch(f"unreadable: {error}") from error


def holds_objects(path: Path) -> bool:
    """Whether a .npy file holds one Python object, which numpy would unpickle."""
    try:
        with open_regular(path) as file:
            shape, _, dtype = read_header(file)
    except (UnreadablePatch, *DAMAGED):
        return False
    return bool(dtype.hasobject) and shape == ()


def parse_type(value: Any, number: int) -> RawType | None:
    """The type of nucleus `number` as a file gives it: a name, a whole number, or None for none.

    Tables with gaps write 3 as 3.0. Raises `UnreadablePatch` for anything else.

    >>> parse_type(3.0, number=1), parse_type("3.0", number=2), parse_type("", number=3)
    (3, '3', None)
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        value = whole_number(value.strip())
    if value is None or (isinstance(value, str) and not value):
        return None
    if isinstance(value, str) and value.isprintable() and len(value) <= 100:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31:
        return value
    raise UnreadablePatch(
        f"odd type: nucleus {number} has '{plain(value)}' for a type; write a number or a name"
    )


def plain(value: Any) -> str:
    """A value of a file, fit for a sentence: on one line, and not long.

    >>> plain("two\\nlines"), plain([1, 2])
    ('two?lines', 'a list')
    """
    if isinstance(value, str):
        return "".join(letter if letter.isprintable() else "?" for letter in value[:60])
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63):
        return str(value)
    return f"a {type(value).__name__}"
