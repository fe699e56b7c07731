"""Memory-mapped .npy files."""

from pathlib import Path

import numpy as np
import pytest

from morefromless.data.arrays import open_npy
from morefromless.errors import DataError


def test_an_array_stays_on_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3))
    assert isinstance(open_npy(tmp_path / "a.npy"), np.memmap)
    assert open_npy(tmp_path / "a.npy").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_invalid_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array(["a", None], object))
    with pytest.raises(DataError, match="holds Python objects, which are not read"):
        open_npy(tmp_path / "objects.npy")
    np.save(tmp_path / "a.npy", np.arange(6))
    content = (tmp_path / "a.npy").read_bytes()
    shape = content.replace(b"(6,)", b"(6,True)")  # TypeError in NumPy
    keys = content.replace(b"'shape'", b"1      ")  # TypeError: NumPy sorts the keys
    for damaged in (b"", b"garbage", content[:9], content[:60], content[:-1], shape, keys):
        (tmp_path / "a.npy").write_bytes(damaged)
        with pytest.raises(DataError, match=r"a.npy is not a valid .npy file"):
            open_npy(tmp_path / "a.npy")
    with pytest.raises(DataError, match=r"There is no file .*none.npy"):
        open_npy(tmp_path / "none.npy")


@pytest.mark.parametrize("order", "<>")
def test_text_arrays_need_valid_characters(tmp_path: Path, order: str) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.array(["ab", "cde"], f"{order}U3"))
    assert open_npy(path).tolist() == ["ab", "cde"]
    path.write_bytes(path.read_bytes()[:-4] + b"\xff" * 4)  # a number that is not a character
    with pytest.raises(DataError, match=r"a.npy is not a valid .npy file"):
        open_npy(path)
