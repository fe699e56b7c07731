"""Zip and tar archives, plain or compressed: listed once, then members are read by index."""

import errno
import io
import os
import stat
import tarfile
import zipfile
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from tarfile import EOFHeaderError, HeaderError, ReadError  # type: ignore[attr-defined]
from threading import Lock

from morefromless.data.archives import Archive
from morefromless.errors import DataError, UnreadablePatch
from morefromless.progress import Bar
from morefromless.regular import MAX_FILE_BYTES

SMALL, RATIO = 2**20, 200
"""Members that unpack to more than `SMALL` bytes and `RATIO` times their packed size are not
read."""
AHEAD = 256
"""Members kept in memory for other threads when a compressed tar is read past them."""


def open_archive(path: Path) -> Archive:
    """Open the archive at `path`; it is listed once. Raises `DataError` if it is damaged."""
    facts = path.stat()
    return _listed(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=4)
def _listed(path: Path, size: int, changed: int) -> Archive:  # noqa: ARG001 - part of the key
    try:
        if path.suffix.lower() == ".zip":
            return _Zip(path)
        return _Tar(path) if _is_plain_tar(path) else _CompressedTar(path)
    except (DataError, PermissionError):
        raise
    except Exception as error:  # the readers may raise anything on a damaged archive
        raise DataError(
            f"{path} is not a valid archive ({str(error) or 'cut short'}); fetch it again."
        ) from error


def _is_plain_tar(path: Path) -> bool:
    """Whether a tar is uncompressed, by its content: a .tar file may be compressed."""
    with path.open("rb") as file:
        return file.read(512)[257:262] == b"ustar"


class _Zip(Archive):
    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")  # stays open while the archive is in use
        self._zip = zipfile.ZipFile(_Positioned(self._file.fileno()))
        super().__init__(path)

    def _members(self) -> Iterator[tuple[int, str]]:
        for place, info in enumerate(self._zip.infolist()):
            if stat.S_ISLNK(info.external_attr >> 16):
                self.passed_over["link"] += 1
            elif not info.is_dir():
                yield place, _utf8(info)

    def _read(self, place: int) -> bytes:
        info = self._zip.infolist()[place]
        if info.flag_bits & 1:
            raise UnreadablePatch("encrypted: unpack it with its password first")
        bomb = info.file_size > SMALL and info.file_size > RATIO * info.compress_size
        if bomb or info.file_size > MAX_FILE_BYTES:
            raise UnreadablePatch(
                f"too large: it unpacks from {info.compress_size:,} to {info.file_size:,} bytes"
            )
        return self._zip.read(info)


class _Positioned(io.RawIOBase):
    """An open file with its own read position, which forked processes do not move."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._position = descriptor, 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        size = os.fstat(self._descriptor).st_size
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, "position before the start of the file")
        self._position = start + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        size = os.fstat(self._descriptor).st_size if size < 0 else size
        data = os.pread(self._descriptor, size, self._position)
        self._position += len(data)
        return data


class _Tar(Archive):
    """A plain tar: listed once, then each member is read from its offset."""

    def __init__(self, path: Path) -> None:
        self._offsets, self._sizes = array("q"), array("q")
        """Offset and size in bytes of the content of each file."""
        self._file = path.open("rb")  # stays open while the archive is in use
        self._tar = tarfile.open(fileobj=self._file, tarinfo=_Header)  # noqa: SIM115
        super().__init__(path)

    def _members(self) -> Iterator[tuple[int, str]]:
        most = RATIO * max(SMALL, self.path.stat().st_size)
        with Bar(desc="listing", unit=" members", delay=2) as bar:
            while (info := self._tar.next()) is not None:
                self._tar.members = []  # type: ignore[attr-defined]  # a million need a gigabyte
                bar.update()
                if info.size < 0:
                    raise ValueError("a member of negative size")
                if info.offset_data + info.size > most:
                    raise DataError(
                        f"{self.path} unpacks to more than {RATIO} times its size, like an archive "
                        "bomb; unpack it yourself if you trust it."
                    )
                if info.issym() or info.islnk():
                    self.passed_over["link"] += 1
                elif info.isreg() and not info.issparse():
                    yield len(self._offsets), info.name
                    self._offsets.append(info.offset_data)
                    self._sizes.append(info.size)
                elif not info.isdir():
                    self.passed_over["device, pipe or sparse file"] += 1

    def _read(self, place: int) -> bytes:
        offset, size = self._section(place)
        return _whole(os.pread(self._file.fileno(), size, offset), size)

    def _section(self, place: int) -> tuple[int, int]:
        offset, size = self._offsets[place], self._sizes[place]
        if size > MAX_FILE_BYTES:
            raise UnreadablePatch(f"too large: {size:,} bytes")
        return offset, size


class _Header(tarfile.TarInfo):
    """A member's header. Python's reader treats a damaged or missing header as the archive's end;
    this class raises an error."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> "_Header":
        try:
            return super().fromtarfile(tarfile)
        except HeaderError as error:
            if tarfile.offset == 0 or isinstance(error, EOFHeaderError):
                raise
            raise ReadError(f"no header at byte {tarfile.offset:,}") from error


class _CompressedTar(_Tar):
    """A compressed tar, read only forwards, in its own order."""

    fork_safe = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock, self._next = Lock(), 0
        self._passed: OrderedDict[int, bytes] = OrderedDict()

    def _order(self, places: dict[str, int]) -> list[str]:
        return sorted(places, key=places.__getitem__)

    def _read(self, place: int) -> bytes:
        with self._lock:
            if place in self._passed:
                return self._passed.pop(place)
            for between in range(self._next, place if place - self._next <= AHEAD else 0):
                if self._sizes[between] <= MAX_FILE_BYTES:
                    self._passed[between] = self._forward(between)
            while len(self._passed) > AHEAD:
                self._passed.popitem(last=False)
            return self._forward(place)

    def _forward(self, place: int) -> bytes:
        file = self._tar.fileobj
        assert file is not None
        offset, size = self._section(place)
        file.seek(offset)
        self._next = place + 1
        return _whole(file.read(size), size)


def _whole(data: bytes, size: int) -> bytes:
    if len(data) < size:
        raise EOFError("cut short")
    return data


def _utf8(info: zipfile.ZipInfo) -> str:
    """A member's name. Some tools write UTF-8 without its flag; Python then decodes it as cp437."""
    if not info.flag_bits & 0x800:
        try:
            return info.filename.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return info.filename
