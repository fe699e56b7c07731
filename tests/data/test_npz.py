"""Npz files are read like NumPy reads them, or rejected before memory is allocated."""

import io
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from morefromless.data.npz import read_npz
from morefromless.errors import UnreadablePatch

ALL = re.compile(".*")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_equal_those_of_numpy(tmp_path: Path, save: object) -> None:
    assert callable(save)
    arrays = {
        "a": np.arange(12, dtype=np.uint8).reshape(3, 4),
        "b": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "c": np.zeros((0, 4)),
        "d": np.array(7),
    }
    save(tmp_path / "x.npz", **arrays)
    loaded, names = read_npz(tmp_path / "x.npz", ALL)
    assert names == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype
    assert set(read_npz(tmp_path / "x.npz", re.compile("[ab]"))[0]) == {"a", "b"}


def write_member(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    return path


def test_header_that_does_not_match_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (2**50,)}
    np.lib.format.write_array_header_1_0(buffer, header)
    with pytest.raises(ValueError, match="the header of a does not match"):
        read_npz(write_member(tmp_path / "x.npz", buffer.getvalue()), ALL)


def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morefromless.data.npz.SMALL_BYTES", 2**16)
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(2**20, np.uint8))
    with pytest.raises(ValueError, match="would unpack to"):
        read_npz(tmp_path / "x.npz", ALL)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY\x01\x00\xff\xff"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "y.npz").write_bytes(content)
    for path in (tmp_path / "y.npz", write_member(tmp_path / "x.npz", content)):
        with pytest.raises(ValueError, match=r"\w"):
            read_npz(path, ALL)


def test_objects_and_pipes_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="Python objects"):
        read_npz(tmp_path / "x.npz", ALL)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(UnreadablePatch, match="not a file"):
        read_npz(tmp_path / "pipe.npz", ALL)
