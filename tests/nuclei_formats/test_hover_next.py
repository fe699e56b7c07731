"""HoVer-NeXt's Zarr array and table of classes; errors for damaged files."""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats.hover_next import HoverNext

MAP = np.array([[0, 1, 1], [2, 2, 0]], "<i4")
HEADER: dict[str, Any] = {
    "zarr_format": 2,
    "shape": [2, 3],
    "chunks": [2, 2],
    "dtype": "<i4",
    "compressor": None,
    "fill_value": 0,
    "order": "C",
    "filters": None,
}


def write(folder: Path, entries: dict[str, bytes] | None = None, **header: Any) -> Path:
    chunks = {"0.0": MAP[:, :2].tobytes(), "0.1": np.pad(MAP[:, 2:], [(0, 0), (0, 1)]).tobytes()}
    path = folder / "pinst_pp.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(".zarray", json.dumps({**HEADER, **header}))
        for name, data in (entries or chunks).items():
            archive.writestr(name, data)
    (folder / "class_inst.json").write_text('{"2": [3, [1, 0.5]], "1": [1, [0, 1.5]]}')
    return path


def test_instances_have_the_classes_of_the_table(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert HoverNext.recognises(path)
    result = HoverNext().read(path, (2, 3))
    assert result.instances.tolist() == MAP.tolist()
    assert list(result.types.items()) == [(2, 3), (1, 1)]


def test_file_compressed_by_numcodecs_is_read(tmp_path: Path) -> None:
    numcodecs = pytest.importorskip("numcodecs", reason="comes with anndata")
    codec = numcodecs.Blosc(cname="lz4", clevel=3)
    stacked = np.zeros((1, 4, 4), "<i4")
    stacked[0, :2, :3] = MAP
    chunks = {"0.0.0": codec.encode(np.ascontiguousarray(stacked[:, :2, :3]))}
    path = write(tmp_path, chunks, shape=[1, 2, 3], chunks=[1, 2, 3], compressor=codec.get_config())
    assert HoverNext().read(path, (2, 3)).instances.tolist() == MAP.tolist()
    damaged = {"0.0.0": b"\2\1\1\4" + b"\xff" * 40}
    path = write(
        tmp_path, damaged, shape=[1, 2, 3], chunks=[1, 2, 3], compressor=codec.get_config()
    )
    with pytest.raises(UnreadablePatch, match=r"unreadable: pinst_pp.zip is not a valid Zarr"):
        HoverNext().read(path, (2, 3))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"shape": [4, 4]}, "another size"),
        ({"dtype": "|O"}, "unreadable"),
        ({"filters": [{"id": "pickle"}]}, "unreadable"),
        ({"compressor": {"id": "pickle"}}, "unreadable"),
        ({"chunks": [2**20, 2**20]}, "unreadable"),
        ({"chunks": [0, 2]}, "unreadable"),
        ({"chunks": None}, "unreadable"),
        ({"compressor": {"id": "zlib"}}, "unreadable"),
    ],
)
def test_unsupported_headers_are_refused(tmp_path: Path, header: Any, reason: str) -> None:
    with pytest.raises(UnreadablePatch, match=reason):
        HoverNext().read(write(tmp_path, **header), (2, 3))


def test_oversized_chunks_and_missing_tables_are_refused(tmp_path: Path) -> None:
    oversized = {"0.0": zlib.compress(bytes(2**22))}
    path = write(tmp_path, oversized, compressor={"id": "zlib"})
    with pytest.raises(UnreadablePatch, match="unreadable"):
        HoverNext().read(path, (2, 3))
    path = write(tmp_path)
    (tmp_path / "class_inst.json").write_text('{"1": 3}')
    with pytest.raises(UnreadablePatch, match=r"unreadable: class_inst.json is not a table"):
        HoverNext().read(path, (2, 3))
    (tmp_path / "class_inst.json").unlink()
    with pytest.raises(UnreadablePatch, match=r"no segmentation: there is no class_inst.json"):
        HoverNext().read(path, (2, 3))
