"""Read arrays of an .npz file; headers are checked against the file before memory is allocated."""

import math
import re
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from morefromless.data.arrays import read_header
from morefromless.regular import open_regular

SMALL_BYTES = 2**28
"""Size in bytes that an array may unpack to, regardless of its packed size."""
MAX_RATIO = 100
"""Maximum compression ratio of larger arrays; images rarely shrink to less than a tenth."""


def read_npz(path: Path, names: re.Pattern[str]) -> tuple[dict[str, npt.NDArray[Any]], list[str]]:
    """Read the arrays whose names match; also return the names of all arrays.

    Raises `ValueError` for files that are damaged, hold objects or unpack to far more than their
    size, and `UnreadablePatch` if `path` is not a file.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            members = {
                info.filename.removesuffix(".npy"): info
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
            arrays = {}
            for name, info in members.items():
                if names.fullmatch(name):
                    if info.file_size > max(SMALL_BYTES, MAX_RATIO * info.compress_size):
                        raise ValueError(f"{name} would unpack to {info.file_size:,} bytes")
                    with archive.open(info) as member:
                        arrays[name] = _array(member, name, info.file_size)
            return arrays, list(members)
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib and NumPy may raise anything on a damaged file
        if isinstance(error, OSError) or type(error).__module__.startswith("morefromless"):
            raise
        raise ValueError(str(error) or type(error).__name__) from error


def _array(member: IO[bytes], name: str, size: int) -> npt.NDArray[Any]:
    shape, fortran, dtype = read_header(member)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects")
    count = math.prod(shape) * dtype.itemsize
    if count != size - member.tell():
        raise ValueError(f"the header of {name} does not match its {size:,} bytes")
    values = np.frombuffer(member.read(), dtype)
    return values.reshape(shape, order="F" if fortran else "C")
