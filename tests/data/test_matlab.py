"""MATLAB files: same numbers as SciPy; damaged files are rejected without a crash."""

import io
import random
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from morefromless.data.matlab import read_variables

VARIABLES: dict[str, Any] = {
    **{
        kind: np.arange(-6 if kind[0] in "if" else 0, 6).astype(kind)[:6].reshape(2, 3)
        for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
    },
    "flag": np.array([[True, False]]),
    "solid": np.arange(24.0).reshape(2, 3, 4),
    "single": np.array([[3]], np.uint8),  # in the short form
    "none": np.zeros((0, 0)),
    "text": "text",
    "cell": np.array([1, "a"], object),
    "struct": {"a": 1},
    "complex": np.array([[1j]]),
}


def save_variables(compressed: bool = True) -> bytes:
    file = io.BytesIO()
    savemat(file, VARIABLES, do_compression=compressed)
    return file.getvalue()


@pytest.mark.parametrize("compressed", [True, False])
def test_numbers_are_read_as_scipy_reads_them(compressed: bool) -> None:
    content = save_variables(compressed)
    expected = loadmat(io.BytesIO(content))
    result = read_variables(content, VARIABLES.keys())
    assert set(VARIABLES) - set(result) == {"text", "cell", "struct", "complex"}
    for name, values in result.items():
        np.testing.assert_array_equal(values, expected[name])
        assert values.shape == expected[name].shape
    assert read_variables(content, {"single"}).keys() == {"single"}


def test_big_endian_files_are_read() -> None:
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI"
    matrix = (
        b"\0\0\0\6\0\0\0\10" + b"\0\0\0\6\0\0\0\0"
        b"\0\0\0\5\0\0\0\10" + b"\0\0\0\1\0\0\0\2"
        b"\0\1\0\1a\0\0\0"
        b"\0\4\0\4\1\0\0\2"
    )
    content = header + b"\0\0\0\16" + len(matrix).to_bytes(4, "big") + matrix
    assert read_variables(content, {"a"})["a"].tolist() == [[256, 2]]
    np.testing.assert_array_equal(loadmat(io.BytesIO(content))["a"], [[256, 2]])


@pytest.mark.parametrize("compressed", [True, False])
def test_damaged_files_are_refused_or_read_and_never_crash(compressed: bool) -> None:
    content, rng, refusals = save_variables(compressed), random.Random(0), 0
    for _ in range(1000):
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(124, len(content))] = rng.randrange(256)
        try:
            read_variables(bytes(damaged), VARIABLES.keys())
        except (ValueError, NotImplementedError):
            refusals += 1
    assert refusals > 300
    for size in (0, 64, 127, 131, len(content) - 1):
        with pytest.raises(ValueError, match=r"header|damaged|truncated"):
            read_variables(content[:size], VARIABLES.keys())


def test_v7_3_is_recognised_by_its_version() -> None:
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    with pytest.raises(NotImplementedError):
        read_variables(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n", {"a"})
