"""Download (with resume) or copy the files of public data sets, and verify them."""

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from pathlib import Path

from morefromless.catalogue import PublicFile, PublicSet
from morefromless.errors import ConfigError, DataError, first_line
from morefromless.files import check_space, raising_storage_errors, sync
from morefromless.progress import Bar

CHUNK = 2**20
STALL, PAUSE, ATTEMPTS = 30.0, 1.0, 5
"""Timeout of an attempt without data in seconds, pause before the next attempt in seconds (doubled
each time), and maximum number of attempts without progress."""


def fetch(
    sheet: PublicSet, folder: Path, *, local: Path | None = None, mirror: str | None = None
) -> list[Path]:
    """Download the files of a data set into `folder` and return their paths.

    Existing valid files are kept. An interrupted download resumes, also in a later call. `local` is
    a file or folder that already has the files; then the network is not used. `mirror` is the URL
    of a folder with the files. Raises `DataError` if a file cannot be downloaded or differs from
    the published one, and `StorageError` if the disk cannot be written.
    """
    if mirror is not None and not mirror.startswith(("http://", "https://")):
        raise ConfigError(f"--mirror {mirror} is not a URL; it must begin with https://.")
    if not sheet.files:
        raise DataError(f"{sheet.title} cannot be downloaded automatically: {sheet.instructions}")
    if local is not None:  # check before `folder` is created
        for file in sheet.files:
            origin = _origin(file, local)
            if not (origin.is_file() or (folder / file.name).exists()):
                raise ConfigError(
                    f"There is no file {origin}; set --local to the folder that has {file.name}."
                )
    with raising_storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return [_file(file, folder, local, mirror) for file in sheet.files]


def _origin(file: PublicFile, local: Path) -> Path:
    return local / file.name if local.is_dir() else local


def _file(file: PublicFile, folder: Path, local: Path | None, mirror: str | None) -> Path:
    path, part = folder / file.name, folder / f"{file.name}.part"
    if path.exists():
        if fault := _difference(file, path):
            raise DataError(f"{path} {fault}; remove it and run again.")
        return path
    origin: Path | str
    if local is not None:
        origin = _origin(file, local)
        check_space(folder, file.bytes or origin.stat().st_size)
        _copy(origin, part)
    else:
        origin = f"{mirror.rstrip('/')}/{file.name}" if mirror else file.url
        check_space(folder, (file.bytes or 0) - (part.stat().st_size if part.exists() else 0))
        _download(origin, file, part)
    if fault := _difference(file, part):
        part.unlink()
        raise DataError(f"{origin} {fault}; run again, or use another --mirror or --local.")
    sync(part)
    os.replace(part, path)
    return path


def _copy(origin: Path, part: Path) -> None:
    size = origin.stat().st_size
    with (
        origin.open("rb") as content,
        part.open("wb") as out,
        Bar(desc=origin.name, total=size, unit="B", unit_scale=True, delay=2) as bar,
    ):
        while chunk := content.read(CHUNK):
            out.write(chunk)
            bar.update(len(chunk))


def _download(url: str, file: PublicFile, part: Path) -> None:
    """Append to `part` until it is complete. Each attempt resumes where the last one ended."""
    failures, reason = 0, ""
    most = part.stat().st_size if part.exists() else 0
    with Bar(desc=file.name, total=file.bytes, unit="B", unit_scale=True) as bar:
        while failures < ATTEMPTS:
            try:
                if _attempt(url, file, part, bar):
                    return
                reason = "the connection was interrupted"
            except urllib.error.HTTPError as error:
                if error.code not in (429, 500, 502, 503, 504):
                    raise DataError(
                        f"{url} returned HTTP status {error.code} ({first_line(error.reason)}); "
                        "check the network, use --mirror, or download it elsewhere and use --local."
                    ) from error
                reason = f"HTTP status {error.code}"
            except (http.client.HTTPException, OSError) as error:  # a timeout is an OSError too
                reason = first_line(getattr(error, "reason", None) or error)
            size = part.stat().st_size if part.exists() else 0
            failures = 0 if size > most else failures + 1
            most = max(most, size)
            if failures < ATTEMPTS:
                time.sleep(PAUSE * 2**failures)
    raise DataError(
        f"{url} cannot be downloaded ({reason}); the part received is kept. Run the same command "
        "again to resume, or use --mirror or --local if the file is available elsewhere."
    )


def _attempt(url: str, file: PublicFile, part: Path, bar: Bar) -> bool:
    """Send one request. Returns whether the file is complete."""
    begin = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={begin}-"} if begin else {})
    try:
        response = urllib.request.urlopen(request, timeout=STALL)
    except urllib.error.HTTPError as error:
        if error.code == 416 and begin:  # nothing is left, or the part belongs to another file
            if begin == file.bytes:
                return True
            part.unlink()
            return False
        raise
    with response:
        going_on = response.status == 206
        if going_on and not response.headers.get("Content-Range", "").startswith(f"bytes {begin}-"):
            part.unlink()
            return False
        length = response.headers.get("Content-Length")
        begin = begin if going_on else 0  # a server that ignores ranges sends the whole file
        expected = file.bytes or (begin + int(length) if length and length.isdigit() else None)
        bar.total, bar.n = expected, begin
        with part.open("ab" if going_on else "wb") as out:
            while chunk := response.read1(CHUNK):
                begin += len(chunk)
                if expected is not None and begin > expected:
                    raise DataError(
                        f"{url} sends more than the {expected:,} bytes of {file.name}, so it is a "
                        "different file; use --mirror or --local."
                    )
                out.write(chunk)
                bar.update(len(chunk))
    return expected is None or begin == expected


def _difference(file: PublicFile, path: Path) -> str:
    """How a file differs from the published one, as far as that is known. "" if equal."""
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        return f"has {size:,} bytes, but the published {file.name} has {file.bytes:,}"
    if file.md5 is None:
        return ""
    digest = hashlib.md5(usedforsecurity=False)
    with (
        path.open("rb") as content,
        Bar(desc="verifying", total=size, unit="B", unit_scale=True, delay=2) as bar,
    ):
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    if digest.hexdigest() == file.md5:
        return ""
    return f"has md5 {digest.hexdigest()}, but the published {file.name} has {file.md5}"
