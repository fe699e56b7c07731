"""An S3-compatible server on this computer, with one bucket, `patches`."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto.server import ThreadedMotoServer
from pyarrow.fs import S3FileSystem

BUCKET = "patches"


@contextmanager
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ThreadedMotoServer, S3FileSystem]]:
    """Start the server with an empty bucket, and set the environment variables to use it. Yields
    the server and the file system of the bucket's owner."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "{}:{}".format(*server.get_host_and_port())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{address}")
    owner = S3FileSystem(scheme="http", endpoint_override=address, allow_bucket_creation=True)
    owner.create_dir(BUCKET)
    owner.delete_dir_contents(BUCKET)
    yield server, owner
    server.stop()
