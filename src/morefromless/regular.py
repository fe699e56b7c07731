"""Regular files: what waits for a writer, or never ends, is not opened."""

import errno
import os
import stat
from io import FileIO
from pathlib import Path
from typing import IO

from morefromless.errors import UnreadablePatch

LARGEST = 2**28
"""Bytes that one image's file may have, packed or unpacked: a thousand times what a tile takes."""


def read_bytes(path: Path) -> bytes:
    """A file's bytes. Raises `OSError`, for a folder, a pipe or a device too: it waits for none."""
    with FileIO(_descriptor(path)) as file:  # unbuffered: small files are read faster
        return file.readall()


def _descriptor(path: Path) -> int:
    # Without waiting for whoever would write into a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegular(errno.EINVAL, "a folder, a pipe or a device stands there", str(path))
    return descriptor


class NotRegular(OSError):
    """A folder, a pipe or a device in a file's place."""


def open_regular(path: Path) -> IO[bytes]:
    """A file, opened to read bytes. Raises `UnreadablePatch` for folders, pipes and devices."""
    try:
        return os.fdopen(_descriptor(path), "rb")
    except FileNotFoundError as error:
        raise UnreadablePatch(f"no segmentation: there is no {path.name}; fetch it") from error
    except NotRegular as error:
        raise UnreadablePatch(
            f"not a file: {path.name} is a folder, a pipe or a device; remove it"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "an odd name"
        raise UnreadablePatch(
            f"unreadable: {path.name} cannot be opened ({reason}); check its permissions"
        ) from error


def read_regular(path: Path) -> bytes:
    """A file's bytes. Raises `UnreadablePatch` where it is not there, empty or too large."""
    with open_regular(path) as file:
        data = file.read(LARGEST + 1)
    if not data:
        raise UnreadablePatch(f"empty file: {path.name} has 0 bytes; fetch it again")
    if len(data) > LARGEST:
        raise too_large(path)
    return data


def too_large(path: Path) -> UnreadablePatch:
    return UnreadablePatch(
        f"too large: {path.name} holds more than {LARGEST >> 20} MiB; export each image by itself"
    )
