"""Datasheets, and downloads from a faulty server."""

import hashlib
import http.server
import re
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from morefromless.catalogue import PublicFile, PublicSet, download, names, public_set
from morefromless.catalogue.download import fetch
from morefromless.cli import run
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.files import StorageError
from morefromless.ingest import open_source
from morefromless.sources import Source
from tests.ingest.samples import folder, two_classes

CONTENT = bytes(np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8))
MD5 = hashlib.md5(CONTENT).hexdigest()


class FaultyServer(http.server.BaseHTTPRequestHandler):
    """The first part of the path, as in `/MODE/x.zip`, selects the fault."""

    requests: list[tuple[str, str | None]] = []  # noqa: RUF012 - tests read it from the class

    def do_GET(self) -> None:
        mode, requested = self.path.split("/")[1], self.headers.get("Range")
        self.requests.append((mode, requested))
        begin = int(requested.removeprefix("bytes=").rstrip("-")) if requested else 0
        body, status, length = CONTENT[begin:], 206 if requested else 200, None
        if mode == "circle":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.end_headers()
            return
        if mode in ("404", "503"):
            self.send_error(int(mode))
            return
        if mode == "ignores-range":
            body, status = (CONTENT, 200) if requested else (CONTENT[:100_000], 200)
            length = len(CONTENT)
        if mode == "other-range" and requested:
            begin, body = 0, CONTENT
        if mode == "wrong":
            body = bytes(len(body))
        if mode == "endless":
            body = CONTENT + CONTENT
        if mode == "says-less":
            body = body[:100_000]
        self.send_response(status)
        if mode != "endless":
            self.send_header("Content-Length", str(length or len(body)))
        if status == 206:
            self.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        if mode in ("cuts", "stalls", "other-range") and not (mode == "other-range" and requested):
            body = body[:100_000]
        self.wfile.write(body)
        if mode == "stalls" and begin + len(body) < len(CONTENT):
            self.wfile.flush()
            threading.Event().wait(0.6)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), FaultyServer) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(autouse=True)
def _short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    monkeypatch.setattr(download, "RETRY_PAUSE", 0.001)


def sheet(url: str, **facts: Any) -> PublicSet:
    file = PublicFile(
        name="x.zip", url=f"{url}/x.zip", **{"bytes": len(CONTENT), "md5": MD5, **facts}
    )
    return PublicSet(
        title="X",
        description="",
        authors="",
        licence="",
        commercial=True,
        citation="",
        ingest="x.zip",
        files=(file,),
    )


@pytest.mark.parametrize("known_length", [True, False])
@pytest.mark.parametrize("mode", ["good", "cuts", "stalls", "ignores-range", "says-less"])
def test_file_is_downloaded_completely(
    server: str, tmp_path: Path, mode: str, known_length: bool
) -> None:
    if mode == "says-less" and not known_length:
        pytest.skip("without a known length only the checksum tells")
    facts = {} if known_length else {"bytes": None}
    [path] = fetch(sheet(f"{server}/{mode}", **facts), tmp_path)
    assert path.read_bytes() == CONTENT
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


def test_partial_download_resumes(server: str, tmp_path: Path) -> None:
    (tmp_path / "x.zip.part").write_bytes(CONTENT[:200_000])
    FaultyServer.requests.clear()
    fetch(sheet(f"{server}/good"), tmp_path)
    assert FaultyServer.requests == [("good", "bytes=200000-")]
    fetch(sheet(f"{server}/good"), tmp_path)  # the file exists and is valid
    assert len(FaultyServer.requests) == 1
    (tmp_path / "x.zip").rename(tmp_path / "x.zip.part")
    fetch(sheet(f"{server}/good"), tmp_path)
    assert (tmp_path / "x.zip").read_bytes() == CONTENT


def test_response_with_another_range_is_refused(server: str, tmp_path: Path) -> None:
    (tmp_path / "x.zip.part").write_bytes(CONTENT[:50])
    with pytest.raises(DataError, match="cannot be downloaded"):
        fetch(sheet(f"{server}/other-range"), tmp_path)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("wrong", "has md5 .*, but the published x.zip has"),
        ("endless", "sends more than the 300,000 bytes"),
        ("circle", "returned HTTP status 302 .*use --mirror"),
        ("404", "returned HTTP status 404"),
        ("503", "cannot be downloaded .HTTP status 503.; the part received is kept"),
    ],
)
def test_failed_downloads_are_errors(server: str, tmp_path: Path, mode: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fetch(sheet(f"{server}/{mode}"), tmp_path)
    assert not (tmp_path / "x.zip").exists()


def test_mirror_and_local_files_replace_a_dead_server(server: str, tmp_path: Path) -> None:
    dead = sheet("http://127.0.0.1:9")
    with pytest.raises(DataError, match="cannot be downloaded"):
        fetch(dead, tmp_path / "a")
    fetch(dead, tmp_path / "a", mirror=f"{server}/good/")
    fetch(dead, tmp_path / "b", local=tmp_path / "a")
    fetch(dead, tmp_path / "c", local=tmp_path / "a/x.zip")
    assert (tmp_path / "c/x.zip").read_bytes() == CONTENT
    (tmp_path / "a/x.zip").write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(DataError, match=r"a/x.zip has md5 .*use another --mirror or --local"):
        fetch(dead, tmp_path / "d", local=tmp_path / "a")
    with pytest.raises(DataError, match=r"a/x.zip has md5 .*; remove it and run again"):
        fetch(dead, tmp_path / "a")
    assert not list((tmp_path / "d").iterdir())
    with pytest.raises(ConfigError, match="There is no file"):
        fetch(dead, tmp_path / "e", local=tmp_path / "nowhere")
    assert not (tmp_path / "e").exists()
    with pytest.raises(ConfigError, match="is not a URL; it must begin with https://"):
        fetch(dead, tmp_path / "d", mirror="example.org/data")


@pytest.mark.parametrize("local", [False, True])
def test_too_small_disk_is_refused_before_downloading(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local: bool
) -> None:
    (tmp_path / "x.zip").write_bytes(CONTENT)
    origin, out = tmp_path / "x.zip" if local else None, tmp_path / "out"
    usage = SimpleNamespace(free=len(CONTENT) - 1)
    monkeypatch.setattr("morefromless.files.shutil.disk_usage", lambda _: usage)
    FaultyServer.requests.clear()
    with pytest.raises(StorageError) as error:
        fetch(sheet(f"{server}/good"), out, local=origin)
    assert str(error.value) == (
        f"{out} needs 0.0003 GB but the disk has 0.0003 GB free; free some space, or choose "
        "another place."
    )
    assert not FaultyServer.requests
    assert not list(out.iterdir())
    (out / "x.zip.part").write_bytes(CONTENT[:1])  # what has arrived needs no space
    usage.free += local
    assert fetch(sheet(f"{server}/good"), out, local=origin)[0].read_bytes() == CONTENT


@pytest.mark.parametrize("name", names())
def test_datasheet_has_all_required_fields(name: str) -> None:
    datasheet = public_set(name)
    assert all(
        (
            datasheet.title,
            datasheet.description,
            datasheet.authors,
            datasheet.licence,
            datasheet.citation,
        )
    )
    assert datasheet.files or datasheet.instructions
    assert all(file.md5 is None or len(file.md5) == 32 for file in datasheet.files)


def test_breakhis_instructions_give_a_store(tmp_path: Path) -> None:
    slides = ("benign/SOB/adenosis/SOB_B_A_14-22549AB", "malignant/SOB/papillary/SOB_M_PC_14-9146")
    names = {
        f"BreaKHis_v1/histology_slides/breast/{slide}{n}/{power}/x-{power}.png": 10 * n + k
        for n in range(3)
        for k, slide in enumerate(slides)
        for power in ("40X", "100X")
    }
    folder(tmp_path / "FOLDER", names, side=448)
    instruction = re.search(r"run (mfl ingest .*--cut 224)", public_set("breakhis").instructions)
    assert instruction is not None
    arguments = [
        word.replace("FOLDER", f"{tmp_path}/FOLDER") for word in shlex.split(instruction[1])
    ]
    arguments = [word.replace("STORE", str(tmp_path / "store")) for word in arguments]
    assert run(arguments[1:]) == 0
    store = Store.open(tmp_path / "store")
    assert store.classes == ("benign", "malignant")
    assert len(store.table) == 24  # four of each field at 40X
    assert set(store.table["group"]) == {
        f"{p}{n}" for n in range(3) for p in ("14-22549AB", "14-9146")
    }
    assert store.meta.datasheet.title == "BreakHis, cut to 224 px"


def test_commands_suggest_the_next_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fetch", "crc-val"]) == 2
    assert "did you mean crc-val-he-7k?" in capsys.readouterr().err
    assert run(["fetch", "mhist", str(tmp_path)]) == 2
    assert "cannot be downloaded automatically: request it at" in capsys.readouterr().err
    assert run(["ingest", f"kather-2016:{tmp_path}", str(tmp_path / "store")]) == 2
    assert f"download it with mfl fetch kather-2016 {tmp_path}" in capsys.readouterr().err


def test_patch_counts_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_classes(tmp_path / "x")

    def open_with_counts(**counts: int) -> Source:
        public = PublicSet(
            title="X",
            description="",
            authors="",
            licence="L",
            commercial=True,
            citation="C",
            ingest="x",
            counts=counts,
        )
        monkeypatch.setattr("morefromless.ingest.opening.public_set", lambda _: public)
        return open_source(f"kather-2016:{tmp_path}")

    assert len(open_with_counts(A=5, B=5).items()) == 10
    assert open_with_counts(A=5, B=5).datasheet().licence == "L"
    with pytest.raises(DataError, match="X has 4 patches of B, but 5 were found; download it"):
        open_with_counts(A=5, B=4).items()
    with pytest.raises(DataError, match="X has 0 patches of B"):
        open_with_counts(A=5).items()
