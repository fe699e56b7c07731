"""Files are replaced atomically: a reader sees the old or the new file."""

import errno
import json
import os
import signal
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest

from morefromless import files
from morefromless.errors import ConfigError
from morefromless.files import StorageError
from tests.processes import child, until


def test_writes_text_bytes_and_json(tmp_path: Path) -> None:
    files.write_text(tmp_path / "new folder" / "a.txt", "µm\n")
    files.write_bytes(tmp_path / "b", b"\x00\x01")
    files.write_json(tmp_path / "c.json", {"classes": ["ADI"]})
    assert (tmp_path / "new folder" / "a.txt").read_text(encoding="utf-8") == "µm\n"
    assert (tmp_path / "b").read_bytes() == b"\x00\x01"
    assert json.loads((tmp_path / "c.json").read_text()) == {"classes": ["ADI"]}


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def fail() -> None:
        with files.replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "full"),
        (errno.EACCES, "permissions"),
        (errno.EROFS, "choose another"),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_disk_errors_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str, call: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(StorageError, match=words) as caught:
        files.write_text(path, "new")
    assert str(path) in str(caught.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_output_path_is_checked_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.check_writable(tmp_path / "new" / "newer")
    assert not list(tmp_path.iterdir())
    refuse_to_write(monkeypatch)
    with pytest.raises(ConfigError, match=r"\(Read-only file system\); choose .* with --to\.$"):
        files.check_writable(tmp_path / "new" / "newer", "--to")


def refuse_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a read-only file system, also if root runs the tests."""
    error = OSError(errno.EROFS, os.strerror(errno.EROFS))
    monkeypatch.setattr(files, "TemporaryFile", Mock(side_effect=error))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("No space left on device", "disk is full"),
        ("File too large", "ulimit -f"),
        ("Permission denied", "no write permission"),
        ("Read-only file system", "no write permission"),
    ],
)
def test_disk_errors_of_other_libraries_are_recognised(
    words: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match=reason), files.replacing(tmp_path / "w"):
        raise RuntimeError(f"I/O error: {words} (os error 28)")


def test_other_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="odd") as caught, files.replacing(tmp_path / "w"):
        raise OSError(errno.EIO, "odd")
    assert not isinstance(caught.value, StorageError)


def test_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="folder"):
        files.write_text(tmp_path / "file" / "a.txt", "x")


def test_csv_escapes_formulas(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"id": ["=1+1", "+a", "-b", "@c", "\td", "e=f", ""], "points": [-1.5, 2, 0, 1, 1, 1, 1]}
    )
    files.write_csv(tmp_path / "table.csv", table)
    read = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
    assert read["id"].tolist() == ["'=1+1", "'+a", "'-b", "'@c", "'\td", "e=f", ""]
    assert read["points"].tolist() == table["points"].tolist()


def test_csv_keeps_integers_with_missing_values(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["=a", "b"], "x": pd.array([896, None], dtype="Int64")})
    files.write_csv(tmp_path / "table.csv", table)
    assert (tmp_path / "table.csv").read_text() == "id,x\n'=a,896\nb,\n"


def test_files_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    def write() -> None:
        with files.replacing(tmp_path / "a.txt") as temporary:
            temporary.touch()
            signal.pause()

    with child(write):
        until(lambda: any(tmp_path.iterdir()))
        (temporary,) = tmp_path.iterdir()
        foreign = tmp_path / ".b.txt.00ff-1.partial"  # of another machine
        foreign.touch()
        files.sweep(tmp_path)
        assert temporary.exists()
        assert foreign.exists()
        files.sweep(tmp_path, 0)
        assert temporary.exists()  # its writer is still running
        foreign.touch()
    files.sweep(tmp_path)
    assert not temporary.exists()
    assert foreign.exists()
    files.sweep(tmp_path, 0)
    assert not foreign.exists()
