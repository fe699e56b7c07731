"""Rows are at their positions, for every way of writing them."""

import errno
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morefromless.ingest import rows
from morefromless.ingest.rows import PAGE, Rows
from morefromless.ingest.shapes import ImageShape, Shape

COUNT = 150


def write_rows(folder: Path, side: int, buffered: bool, accepted: list[int]) -> Path:
    """The array of the accepted patches, written one by one, or buffered and flushed."""
    folder.mkdir()
    shape = Shape({"he": ImageShape(side)}, None)
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (COUNT, side, side, 3), np.uint8)
    with closing(Rows(folder / "store", folder / "thumbnails.npy", shape, COUNT)) as writer:
        for start in range(0, COUNT, shape.batch):
            for index in range(start, min(start + shape.batch, COUNT)):
                if index in accepted:
                    put = writer.buffer if buffered else writer.write
                    put(index, {"he": patches[index]})
            writer.flush()
        small = writer.finish(sorted(accepted))
    path = folder / "store" / "he.npy"
    assert np.array_equal(np.load(path), patches[sorted(accepted)])
    assert len(small) == len(accepted)
    return path


ALL_ROWS = list(range(COUNT))


@pytest.mark.parametrize("taken", [ALL_ROWS, [i for i in ALL_ROWS if i not in (3, 64, 149)]])
@pytest.mark.parametrize("side", [32, 50])  # rows of 3,072 bytes: a batch is pages; of 7,500: none
def test_buffered_rows_equal_rows_written_directly(
    side: int, taken: list[int], tmp_path: Path
) -> None:
    direct, flushed = (
        write_rows(tmp_path / f"{buffered}", side, buffered, taken) for buffered in (False, True)
    )
    assert direct.read_bytes() == flushed.read_bytes()
    assert np.load(flushed, mmap_mode="r").offset == PAGE  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="this system has no O_DIRECT")
@pytest.mark.parametrize("call", ["open", "pwrite"])
def test_rows_are_written_without_direct_io(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = write_rows(tmp_path / "plain", 32, False, ALL_ROWS)
    direct: set[int] = set()
    real_open, real_write = os.open, os.pwrite
    refused = []

    def open_(path: Any, flags: int, mode: int = 0o777) -> int:
        if not flags & os.O_DIRECT:
            return real_open(path, flags, mode)
        if call == "open":
            refused.append(path)
            raise OSError(errno.EINVAL, "Invalid argument")
        direct.add(descriptor := real_open(path, flags & ~os.O_DIRECT, mode))
        return descriptor

    def pwrite(descriptor: int, data: Any, offset: int) -> int:
        if descriptor in direct:
            refused.append(descriptor)
            raise OSError(errno.EINVAL, "Invalid argument")
        return real_write(descriptor, data, offset)

    monkeypatch.setattr(rows.os, "open", open_)
    monkeypatch.setattr(rows.os, "pwrite", pwrite)
    assert write_rows(tmp_path / "refused", 32, True, ALL_ROWS).read_bytes() == plain.read_bytes()
    assert refused


@pytest.mark.parametrize(("side", "batch"), [(8, 64), (224, 64), (512, 16), (1024, 4), (4096, 1)])
def test_batch_size_depends_on_the_image_size(side: int, batch: int) -> None:
    assert Shape({"he": ImageShape(side)}, None).batch == batch
