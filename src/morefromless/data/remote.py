"""Files at an address: in a folder, or in S3-compatible storage.

Credentials and the server are read from the usual AWS environment variables (`AWS_ACCESS_KEY_ID`,
`AWS_PROFILE`, `AWS_ENDPOINT_URL` ...) and are never written to disk.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from morefromless import files
from morefromless.errors import ConfigError, explain_os_error, first_line
from morefromless.files import StorageError

S3_PREFIX = "s3://"
CONNECT_TIMEOUT = 10.0
"""Connection timeout in seconds; a connection is tried three times."""
DENIED_MESSAGES = (
    "ACCESS_DENIED",
    "INVALID_ACCESS_KEY_ID",
    "SIGNATURE_DOES_NOT_MATCH",
    "status 403",
)
"""Fragments of Arrow's messages for denied requests."""


class Remote:
    """The files below an address, such as `s3://bucket/name` or `/mnt/archive/name`.

    All methods raise `StorageError` if the storage denies access or cannot be reached. An instance
    can be shared by threads and forked processes.
    """

    def __init__(self, address: str) -> None:
        if "://" in address and not address.startswith(S3_PREFIX):
            raise ConfigError(f"{address} is not the address of a store; give a folder or s3://...")
        self._s3 = address.startswith(S3_PREFIX)
        self.address = address.rstrip("/") if self._s3 else str(Path(address).absolute())
        self._file_system: tuple[int, Any] | None = None

    def read(self, name: str) -> bytes:
        """Read the bytes of a file. Raises `MissingFile` if it does not exist."""
        with self._explain_errors(name), self._files.open_input_file(self._path(name)) as file:
            content: bytes = file.read()
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically, replacing an existing one."""
        if not self._s3:
            files.write_bytes(Path(self._path(name)), content)
            return
        with self._explain_errors(name), self._files.open_output_stream(self._path(name)) as file:
            file.write(content)

    def sizes(self, folder: str) -> dict[str, int]:
        """Size in bytes of each file in a folder, by name; empty if the folder does not exist."""
        from pyarrow.fs import FileSelector

        with self._explain_errors(folder):
            facts = self._files.get_file_info(
                FileSelector(self._path(folder), allow_not_found=True)
            )
        return {fact.base_name: fact.size for fact in facts if fact.is_file}

    def _path(self, name: str) -> str:
        return f"{self.address.removeprefix(S3_PREFIX)}/{name}".rstrip("/")

    @property
    def _files(self) -> Any:
        """Arrow's file system, opened once per process: a connection does not survive a fork."""
        if self._file_system is None or self._file_system[0] != os.getpid():
            from pyarrow import fs

            self._file_system = os.getpid(), _s3() if self._s3 else fs.LocalFileSystem()
        return self._file_system[1]

    @contextmanager
    def _explain_errors(self, name: str) -> Iterator[None]:
        full_address = f"{self.address}/{name}".rstrip("/")
        try:
            yield
        except FileNotFoundError as error:
            raise MissingFile(f"There is no {full_address}; check the address.") from error
        except OSError as error:
            reason = first_line(error)
            if any(word in reason for word in DENIED_MESSAGES):
                raise StorageError(
                    f"Access to {full_address} is denied; check the credentials in your "
                    "environment and their permissions."
                ) from error
            if "NO_SUCH_BUCKET" in reason:
                raise MissingFile(
                    f"The bucket of {full_address} does not exist; check the address."
                ) from error
            if not self._s3:
                code = error.errno or errno.EIO
                raise StorageError(
                    explain_os_error(OSError(code, os.strerror(code), full_address))
                ) from error
            reason = reason.rpartition("AWS Error ")[2].partition("; Details")[0]
            raise StorageError(
                f"{full_address} cannot be reached ({reason}); check the network and "
                "AWS_ENDPOINT_URL, and run again."
            ) from error


def _s3() -> Any:
    from pyarrow import fs

    options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT, "allow_delayed_open": True}
    # Arrow 26 reads these variables only if a file system is opened from an address.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        scheme, _, server = endpoint.rpartition("://")
        options |= {"scheme": scheme or "https", "endpoint_override": server.rstrip("/")}
    return fs.S3FileSystem(**options)


class MissingFile(StorageError):
    """A file or bucket does not exist at an address."""
