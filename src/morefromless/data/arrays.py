"""Arrays in .npy files, which stay on disk until they are read."""

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from morefromless.errors import DataError


def mapped(path: Path) -> npt.NDArray[Any]:
    """The array of a .npy file, to be read from by any number of threads. Raises `DataError`.

    Nothing in the file is executed, so Python objects are refused; so are files shorter than
    their header says.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npy"
    >>> np.save(path, np.arange(3))
    >>> mapped(path).tolist()
    [0, 1, 2]
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise DataError(f"{path} is a folder, a pipe or a device; give a .npy file.")
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}; check the path.") from error
    except (OSError, ValueError, OverflowError, SyntaxError, RecursionError, TokenError) as error:
        if "Python objects" in str(error):
            raise DataError(
                f"{path} holds Python objects, which are not read as they can run code; if you "
                "trust it, np.save(file, np.array(np.load(file, allow_pickle=True).tolist()))."
            ) from error
        raise DataError(
            f"{path} is not a sound .npy file of plain numbers or text; fetch it again."
        ) from error
