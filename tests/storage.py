"""An S3-compatible server on this computer, with one bucket, `patches`."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto.server import ThreadedMotoServer
from pyarrow.fs import S3FileSystem

BUCKET = "patches"


@contextmanager
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ThreadedMotoServer, S3FileSystem]]:
    """The server, which the environment names as it would another one; and its bucket, empty, as
    its owner sees it."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    address = "{}:{}".format(*moto.get_host_and_port())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{address}")
    owner = S3FileSystem(scheme="http", endpoint_override=address, allow_bucket_creation=True)
    owner.create_dir(BUCKET)
    owner.delete_dir_contents(BUCKET)
    yield moto, owner
    moto.stop()
