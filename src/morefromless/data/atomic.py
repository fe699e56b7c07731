"""Files are written whole or not at all.

A reader sees the old file or the new one, never a part: the new one is written beside it, brought
to the disk, and moved over it in one step.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from morefromless.errors import DataError


class StorageError(DataError):
    """A disk that is full, or a place that may not be written to."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it becomes `path` when the block ends well.

    Where the block raises, `path` is as it was and the temporary file is gone. Raises
    `StorageError` where the disk is full or the place may not be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with explaining(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
    finally:  # after a full disk was found to be full
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sync(path: Path) -> None:
    """Bring a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn what a disk refuses in this block into a `StorageError` of one sentence."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = _refusal(error, path)
        if reason is None:
            raise
        raise StorageError(f"{path} cannot be written: {reason}") from error


def _refusal(error: Exception, path: Path) -> str | None:
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "the place is not yours to write to; choose another one or change its permissions."
    if code in (errno.ENOTDIR, errno.EEXIST):
        return "a file stands where a folder is needed; choose another place."
    # Libraries that write for themselves (safetensors, torch) report a full disk in other types.
    if code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error) or _full(path):
        return "the disk is full; free some space or choose another place, and run again."
    return None


def _full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < 2**16
    except OSError:
        return False
