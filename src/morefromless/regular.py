"""Read regular files only, because opening a pipe or a device may block forever."""

import errno
import os
import stat
from io import FileIO
from pathlib import Path
from typing import IO

from morefromless.errors import UnreadablePatch

MAX_FILE_BYTES = 2**28
"""Maximum bytes of one image's file, compressed or not: a thousand times the size of a tile."""


def read_bytes(path: Path) -> bytes:
    """Read a file's bytes. Raises `OSError`, also for a folder, a pipe or a device, without
    blocking."""
    with FileIO(_descriptor(path)) as file:  # unbuffered: small files are read faster
        return file.readall()


def _descriptor(path: Path) -> int:
    # Do not block on a pipe without a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegular(errno.EINVAL, "the path is a folder, a pipe or a device", str(path))
    return descriptor


class NotRegular(OSError):
    """The path is a folder, a pipe or a device instead of a file."""


def open_regular(path: Path) -> IO[bytes]:
    """Open a file to read bytes. Raises `UnreadablePatch` for folders, pipes and devices."""
    try:
        return os.fdopen(_descriptor(path), "rb")
    except FileNotFoundError as error:
        raise UnreadablePatch(f"no segmentation: there is no {path.name}; download it") from error
    except NotRegular as error:
        raise UnreadablePatch(
            f"not a file: {path.name} is a folder, a pipe or a device; remove it"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "an invalid name"
        raise UnreadablePatch(
            f"unreadable: {path.name} cannot be opened ({reason}); check its permissions"
        ) from error


def read_regular(path: Path) -> bytes:
    """Read a file's bytes. Raises `UnreadablePatch` if it is missing, empty or too large."""
    with open_regular(path) as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if not data:
        raise UnreadablePatch(f"empty file: {path.name} has 0 bytes; download it again")
    if len(data) > MAX_FILE_BYTES:
        raise too_large(path)
    return data


def too_large(path: Path) -> UnreadablePatch:
    return UnreadablePatch(
        f"too large: {path.name} has more than {MAX_FILE_BYTES >> 20} MiB; export each image "
        "separately"
    )
