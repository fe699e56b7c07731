"""Only regular files are opened, and pipes do not block."""

import os
from pathlib import Path

import pytest

from morefromless import regular
from morefromless.errors import UnreadablePatch
from morefromless.regular import read_bytes, read_regular


def test_files_and_links_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert read_regular(tmp_path / "a") == read_regular(tmp_path / "b") == b"content"


def test_other_paths_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "large").write_bytes(bytes(2**20 + 1))
    monkeypatch.setattr(regular, "MAX_FILE_BYTES", 2**20)
    for path, reason in {
        tmp_path: "not a file: ",
        tmp_path / "pipe": "not a file: pipe",
        Path("/dev/zero"): "not a file: zero",
        tmp_path / "none": "no segmentation: there is no none",
        tmp_path / "empty": "empty file: empty",
        tmp_path / "circle": "unreadable: circle cannot be opened",
        tmp_path / "large": "too large: large has more than 1 MiB",
        tmp_path / "a\0b": "unreadable: ",
    }.items():
        with pytest.raises(UnreadablePatch, match=reason):
            read_regular(path)


def test_pipes_and_folders_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match="the path is a folder, a pipe or a device"):
            read_bytes(path)
