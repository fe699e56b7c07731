"""TIAToolbox's .dat: a pickle that is not executed. tests/nuclei_formats/files has real files,
created as described in test_tiatoolbox_db.py.
"""

import io
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from morefromless import documents
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import _joblib
from morefromless.nuclei_formats.tiatoolbox_dat import TiatoolboxDat
from tests.nuclei_formats.test_tiatoolbox_db import FILES, MASK


def nucleus(contour: Any, kind: Any = 1, **extra: Any) -> dict[str, Any]:
    return {
        "box": np.array([0, 0, 3, 3]),
        "centroid": np.array([1.0, 1.0]),
        "contour": contour,
        "prob": np.float64(0.5),
        "type": kind,
        **extra,
    }


CORNERS = np.array([[0, 0], [0, 1], [2, 1], [2, 0]], np.int32)
NUCLEI = {"b" * 32: nucleus(CORNERS, 2), "a" * 32: nucleus(np.array([[3, 2]]), None)}


class CreatesFile:
    """Unpickling this object creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("name", ["tiatoolbox.dat", "tiatoolbox_zlib.dat"])
def test_files_of_tiatoolbox_are_read(name: str) -> None:
    assert TiatoolboxDat.recognises(FILES / name)
    result = TiatoolboxDat().read(FILES / name, MASK.shape)
    np.testing.assert_array_equal(result.instances, MASK)
    assert result.types == {1: 1, 2: 2, 3: 5}


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3)])
@pytest.mark.parametrize("protocol", [None, 3, 4, 5])
def test_nuclei_are_read_in_the_order_of_the_file(
    tmp_path: Path, compress: Any, protocol: int | None
) -> None:
    path = tmp_path / "a.dat"
    joblib.dump(NUCLEI, path, compress=compress, protocol=protocol)
    assert TiatoolboxDat.recognises(path)
    result = TiatoolboxDat().read(path, (3, 4))
    assert result.instances.tolist() == [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 2]]
    assert list(result.types.items()) == [(1, 2), (2, None)]


@pytest.mark.parametrize(
    "contour",
    [
        CORNERS.astype(np.float32),
        CORNERS.astype(">i8"),
        np.asfortranarray(CORNERS),
        CORNERS[:, ::-1][:, ::-1],
        CORNERS.tolist(),
    ],
    ids=["float", "big endian", "fortran", "strided", "list"],
)
def test_arrays_of_any_layout_are_equal(tmp_path: Path, contour: Any) -> None:
    joblib.dump({1: nucleus(contour)}, tmp_path / "a.dat")
    result = TiatoolboxDat().read(tmp_path / "a.dat", (3, 4))
    assert result.instances.tolist() == [[1, 1, 1, 0], [1, 1, 1, 0], [0] * 4]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (np.int64(3), 3),
        (np.uint8(3), 3),
        ("Dead", "Dead"),
        (3.0, 3),
        (np.str_("Dead"), "Dead"),
        (None, None),
    ],
)
def test_types_are_numbers_or_names(tmp_path: Path, kind: Any, expected: Any) -> None:
    joblib.dump({np.int64(5): nucleus(CORNERS, kind)}, tmp_path / "a.dat")
    assert TiatoolboxDat().read(tmp_path / "a.dat", (3, 4)).types == {1: expected}


def test_plain_pickle_is_read(tmp_path: Path) -> None:
    nuclei = {1: nucleus(CORNERS), 2: nucleus(CORNERS + np.array([0, 2]))}
    (tmp_path / "a.dat").write_bytes(pickle.dumps(nuclei, protocol=4))
    assert len(TiatoolboxDat().read(tmp_path / "a.dat", (5, 4)).types) == 2


def test_no_nuclei_are_an_empty_map(tmp_path: Path) -> None:
    joblib.dump({}, tmp_path / "a.dat")
    assert not TiatoolboxDat().read(tmp_path / "a.dat", (3, 4)).instances.any()


def test_equal_resolutions_are_accepted(tmp_path: Path) -> None:
    scale = {"resolution": 0.25, "units": "mpp"}
    content = {**NUCLEI, "proc_resolution": scale, "base_resolution": dict(scale)}
    joblib.dump(content, tmp_path / "a.dat")
    assert len(TiatoolboxDat().read(tmp_path / "a.dat", (3, 4)).types) == 2


def object_array(*values: Any) -> np.ndarray:
    content = np.empty(len(values), object)
    content[:] = values
    return content


@pytest.mark.parametrize("compress", [0, 3])
@pytest.mark.parametrize(
    "embed",
    [
        lambda bomb: bomb,
        lambda bomb: {1: bomb},
        lambda bomb: {1: nucleus(bomb)},
        lambda bomb: {1: nucleus(CORNERS, bomb)},
        lambda bomb: {1: nucleus(object_array(bomb))},
        lambda bomb: {1: nucleus(CORNERS), "more": [({"x": object_array(CORNERS, [bomb])},)]},
        lambda bomb: np.array([(1, bomb)], dtype=[("a", int), ("b", object)]),
    ],
)
def test_calls_in_the_pickle_are_not_executed(
    tmp_path: Path, embed: Callable[[Any], Any], compress: int
) -> None:
    path, created = tmp_path / "a.dat", tmp_path / "made"
    joblib.dump(embed(CreatesFile(created)), path, compress=compress)
    with pytest.raises(UnreadablePatch, match=r"not data: the file needs .*not executed") as error:
        TiatoolboxDat().read(path, (3, 4))
    assert "\n" not in str(error.value)
    assert not created.exists()
    joblib.load(path)  # a plain load does execute the file
    assert created.exists()


@pytest.mark.parametrize(
    "steps",
    [
        b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00echo\x85R.",
        b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
        b"\x80\x04\x8c\x05numpy\x8c\x04load\x93.",
        b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.",
        b"\x80\x02cnumpy\nndarray\n}X\x01\x00\x00\x00xK\x01sb.",  # setting an attribute of a class
        b"\x80\x02cnumpy\nndarray\n)R.",
        b"\x80\x02(X\x04\x00\x00\x00echoios\nsystem\n.",  # older opcodes for calls
        b"\x80\x02(cos\nsystem\nX\x04\x00\x00\x00echoo.",
        b"\x80\x02\x82\x01.",  # by a number in the extension registry
        b"\x80\x02X\x01\x00\x00\x00xQ.",  # by a persistent id
        b"\x80\x04\x8f.",
        b"\x80\x02cnumpy\ndtype\nX\x05\x00\x00\x00i4,O8\x85R\x85.",
        b"\x80\x02}))s.",
    ],
)
def test_unsupported_opcodes_are_refused(tmp_path: Path, steps: bytes) -> None:
    (tmp_path / "a.dat").write_bytes(steps)
    with pytest.raises(UnreadablePatch, match=r"not data: |unreadable: a.dat is not a dictionary"):
        TiatoolboxDat().read(tmp_path / "a.dat", (3, 4))


@pytest.mark.parametrize("compress", [0, 3])
def test_truncated_or_damaged_file_is_refused_in_one_sentence(
    tmp_path: Path, compress: int
) -> None:
    path, buffer = tmp_path / "a.dat", io.BytesIO()
    joblib.dump(NUCLEI, buffer, compress=compress)
    data = buffer.getvalue()
    for size in range(1, len(data), 3):
        path.write_bytes(data[:size])
        with pytest.raises(UnreadablePatch, match=r"unreadable: a.dat is no"):
            TiatoolboxDat().read(path, (3, 4))
    rng, reasons = np.random.default_rng(0), []
    for _ in range(300):
        broken = bytearray(data)
        for index in rng.integers(0, len(data), 3):
            broken[index] = rng.integers(256)
        path.write_bytes(broken)
        try:
            TiatoolboxDat().read(path, (3, 4))
        except UnreadablePatch as error:
            reasons.append(str(error))
    assert len(reasons) > 50
    assert all(reason.isprintable() for reason in reasons)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2], "unreadable: a.dat is not a dictionary of nuclei"),
        ({1: 2}, "unreadable: '1' is not a nucleus with a contour"),
        ({1: {"type": 1}}, "unreadable: '1' is not a nucleus with a contour"),
        ({"Gland": NUCLEI}, "several heads: 'Gland' contains its own nuclei"),
        ({1: nucleus(CORNERS[0])}, "broken polygon: .* nucleus 1 is not a list"),
        ({1: nucleus(np.array(["a"]))}, "broken polygon: .* nucleus 1 is not a list"),
        ({1: nucleus(CORNERS * np.nan)}, "broken polygon: .* nucleus 1 has coordinates"),
        ({1: nucleus(CORNERS * 40)}, "out of bounds: nucleus 1 reaches 77 px"),
        ({1: nucleus(CORNERS, CORNERS)}, "odd type: nucleus 1 has the type 'a ndarray'"),
        ({1: nucleus(CORNERS, 10**9999)}, "odd type: nucleus 1 has the type 'a int'"),
        ({10**9999: 2, 2: "x"}, "unreadable: 'a int' is not a nucleus"),
        ({1: nucleus(CORNERS, "a\nb")}, r"odd type: nucleus 1 has the type 'a\?b'"),
        ({1: nucleus(CORNERS), 2: nucleus(CORNERS)}, "overlapping nuclei: nucleus 2 loses 6 of"),
        (
            {
                "proc_resolution": {"resolution": 0.5, "units": "mpp"},
                "base_resolution": {"resolution": 0.25, "units": "mpp"},
            },
            "another magnification: contours at 0.5 mpp, the image at 0.25 mpp",
        ),
        ({"proc_resolution": {"resolution": 0.5}}, "another magnification: .* none stated"),
        ({"proc_resolution": {}}, "unreadable: the file's resolution is not a number"),
    ],
)
def test_unusable_content_is_refused_in_one_sentence(
    tmp_path: Path, content: Any, reason: str
) -> None:
    joblib.dump(content, tmp_path / "a.dat")
    with pytest.raises(UnreadablePatch, match=reason) as error:
        TiatoolboxDat().read(tmp_path / "a.dat", (3, 4))
    assert "\n" not in str(error.value)


def test_other_and_oversized_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dat"
    for data, reason in (
        (b"", "empty file"),
        (b"text", "unreadable: a.dat is not a joblib file"),
        (b"BZh9", "unreadable: a.dat is not a joblib file"),
    ):
        path.write_bytes(data)
        assert not TiatoolboxDat.recognises(path)
        with pytest.raises(UnreadablePatch, match=reason):
            TiatoolboxDat().read(path, (3, 4))
    monkeypatch.setattr(documents, "MAX_FILE_BYTES", 2**20)
    path.write_bytes(zlib.compress(b"\x80\x04" + bytes(2**22)))
    with pytest.raises(UnreadablePatch, match=r"too large: a.dat has more than"):
        TiatoolboxDat().read(path, (3, 4))
    monkeypatch.setattr(_joblib, "MAX_OPCODES", 1000)
    path.write_bytes(b"\x80\x04" + b"}" * 2000 + b".")
    with pytest.raises(UnreadablePatch, match=r"too large: the file takes more than"):
        TiatoolboxDat().read(path, (3, 4))
    path.write_bytes(b"\x80\x04" + b")" + b"\x85" * 900 + b".")
    with pytest.raises(UnreadablePatch, match=r"unreadable: a.dat is not a dictionary"):
        TiatoolboxDat().read(path, (3, 4))
