"""Memory-mapped arrays in .npy files."""

import sys
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from morefromless.errors import DataError

HEADER_ERRORS = (
    OSError,
    ValueError,
    OverflowError,
    SyntaxError,
    RecursionError,
    TokenError,
    TypeError,
)
"""Exceptions that NumPy raises for damaged headers."""


def open_npy(path: Path) -> npt.NDArray[Any]:
    """Memory-map the array of a .npy file, read-only. Raises `DataError`.

    Any number of threads can read from it. Nothing in the file is executed: arrays of Python
    objects are rejected. Files that are shorter than their header says are also rejected.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npy"
    >>> np.save(path, np.arange(3))
    >>> open_npy(path).tolist()
    [0, 1, 2]
    """
    if path.exists() and not path.is_file():  # opening a pipe would block
        raise DataError(f"{path} is a folder, a pipe or a device; give a .npy file.")
    try:
        array: npt.NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
        if array.dtype.kind == "U" and not _is_text(array):
            raise ValueError("numbers that are not characters")
        return array
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}; check the path.") from error
    except HEADER_ERRORS as error:
        if "Python objects" in str(error):
            raise DataError(
                f"{path} holds Python objects, which are not read because they can run code; if "
                "you trust it, np.save(file, np.array(np.load(file, allow_pickle=True).tolist()))."
            ) from error
        raise DataError(
            f"{path} is not a valid .npy file of plain numbers or text; download it again."
        ) from error


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order (bool) and dtype of a .npy file. Raises one of `HEADER_ERRORS`."""
    major, _ = np.lib.format.read_magic(file)
    if major == 1:
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def _is_text(array: npt.NDArray[Any]) -> bool:
    """Whether all code points are valid: NumPy does not check them, and others crash Python."""
    codes = np.ascontiguousarray(array).view(f"{array.dtype.byteorder.replace('|', '=')}u4")
    return bool((codes <= sys.maxunicode).all())
