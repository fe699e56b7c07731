"""Read bytes, JSON, arrays and types from untrusted files."""

import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy.typing as npt

from morefromless.data.arrays import DAMAGED, open_npy, read_header
from morefromless.data.labels import whole_number
from morefromless.data.schemes import RawType
from morefromless.documents import GZIP_MAGIC, RepeatedKey, decompress, parse_foreign_json
from morefromless.errors import DataError, UnreadablePatch
from morefromless.regular import open_regular, read_regular


def head(path: Path, count: int = 2**14) -> str:
    """The first `count` bytes as text, decompressed; empty if the file cannot be read."""
    try:
        with open_regular(path) as file:
            data = file.read(count)
        if data.startswith(GZIP_MAGIC):
            data = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, count)
        return data.decode("utf-8-sig", "replace")
    except (UnreadablePatch, OSError, zlib.error):
        return ""


def read_json(path: Path, keys: Collection[str] | None = None) -> Any:
    """Read a JSON file, plain or gzip-compressed. Raises `UnreadablePatch` if it is not JSON, or if
    an object has one of `keys` (by default, any key) twice.
    """
    data = read_regular(path)
    try:
        return parse_foreign_json(decompress(data, path), keys)
    except RepeatedKey as error:
        raise UnreadablePatch(
            f"repeated key: '{plain(error.key)}' occurs twice; give each key its own name"
        ) from error
    except ValueError as error:
        raise UnreadablePatch(
            f"unreadable: {path.name} is not valid JSON; export it again"
        ) from error


def map_array(path: Path) -> npt.NDArray[Any]:
    """Open the array of a .npy file as a memory map. Raises `UnreadablePatch`."""
    if holds_objects(path):
        raise UnreadablePatch(
            f"not data: {path.name} contains a Python object, such as CellViT's label, which is "
            "not read because it can run code; if you trust it, convert it: d = np.load(file, "
            "allow_pickle=True).item(), then np.save(file, np.stack([d['inst_map'], "
            "d['type_map']], -1))"
        )
    open_regular(path).close()
    try:
        return open_npy(path)
    except DataError as error:
        raise UnreadablePatch(f"unreadable: {error}") from error


def holds_objects(path: Path) -> bool:
    """Whether a .npy file contains one Python object, which numpy would unpickle."""
    try:
        with open_regular(path) as file:
            shape, _, dtype = read_header(file)
    except (UnreadablePatch, *DAMAGED):
        return False
    return bool(dtype.hasobject) and shape == ()


def parse_type(value: Any, number: int) -> RawType | None:
    """Parse the type of nucleus `number`: a name, a whole number, or None if there is no type.

    3.0 is read as 3, because tables with missing values contain it. Raises `UnreadablePatch` for
    anything else.

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
        f"odd type: nucleus {number} has the type '{plain(value)}'; write a number or a name"
    )


def plain(value: Any) -> str:
    """A value from a file, shortened to one printable line for messages.

    >>> plain("two\\nlines"), plain([1, 2])
    ('two?lines', 'a list')
    """
    if isinstance(value, str):
        return "".join(letter if letter.isprintable() else "?" for letter in value[:60])
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63):
        return str(value)
    return f"a {type(value).__name__}"
