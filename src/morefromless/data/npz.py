"""Arrays of an .npz file, whose headers are compared with the file before memory is taken."""

import math
import re
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from morefromless.data.arrays import read_header
from morefromless.regular import open_regular

SMALL = 2**28
"""Bytes that an array may unpack to however small it is packed."""
RATIO = 100
"""Times that a larger array may unpack to; images shrink to a tenth, seldom more."""


def read_npz(path: Path, names: re.Pattern[str]) -> tuple[dict[str, npt.NDArray[Any]], list[str]]:
    """Arrays whose names match, and the names of all.

    Raises `ValueError` for files that are damaged, hold objects or unpack to far more than they
    hold, and `UnreadablePatch` for what is not a file.
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
                    if info.file_size > max(SMALL, RATIO * info.compress_size):
                        raise ValueError(f"{name} would unpack to {info.file_size:,} bytes")
                    with archive.open(info) as member:
                        arrays[name] = _array(member, name, info.file_size)
            return arrays, list(members)
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # of zipfile's, zlib's and NumPy's parsers, for the same reason
        if isinstance(error, OSError) or type(error).__module__.startswith("morefromless"):
            raise
        raise ValueError(str(error) or type(error).__name__) from error


def _array(member: IO[bytes], name: str, size: int) -> npt.NDArray[Any]:
    shape, fortran, dtype = read_header(member)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects")
    count = math.prod(shape) * dtype.itemsize
    if count != size - member.tell():
        raise ValueError(f"the header of {name} does not fit its {size:,} bytes")
    values = np.frombuffer(member.read(), dtype)
    return values.reshape(shape, order="F" if fortran else "C")
