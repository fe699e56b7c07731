"""Rows are at their places, whichever way they were written."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morefromless.ingest import rows
from morefromless.ingest.rows import PAGE, Rows
from morefromless.ingest.shapes import ImageShape, Shape

COUNT = 150


def written(folder: Path, side: int, held: bool, taken: list[int]) -> Path:
    """The array of some of the patches, which were written one by one, or held and flushed."""
    folder.mkdir()
    shape = Shape({"he": ImageShape(side)}, None)
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (COUNT, side, side, 3), np.uint8)
    with Rows(folder / "store", folder / "thumbnails.npy", shape, COUNT) as each:
        for start in range(0, COUNT, shape.batch):
            for index in range(start, min(start + shape.batch, COUNT)):
                if index in taken:
                    put = each.buffer if held else each.write
                    put(index, {"he": patches[index]})
            each.flush()
        small = each.finish(sorted(taken))
    path = folder / "store" / "he.npy"
    assert np.array_equal(np.load(path), patches[sorted(taken)])
    assert len(small) == len(taken)
    return path


EVERY = list(range(COUNT))


@pytest.mark.parametrize("taken", [EVERY, [i for i in EVERY if i not in (3, 64, 149)]])
@pytest.mark.parametrize("side", [32, 50])  # rows of 3,072 bytes: a batch is pages; of 7,500: none
def test_held_rows_are_those_that_are_written_at_once(
    side: int, taken: list[int], tmp_path: Path
) -> None:
    one, other = (written(tmp_path / f"{held}", side, held, taken) for held in (False, True))
    assert one.read_bytes() == other.read_bytes()
    assert np.load(other, mmap_mode="r").offset == PAGE  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="this system has no O_DIRECT")
@pytest.mark.parametrize("call", ["open", "pwrite"])
def test_a_file_system_without_direct_writes(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = written(tmp_path / "plain", 32, False, EVERY)
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
    assert written(tmp_path / "refused", 32, True, EVERY).read_bytes() == plain.read_bytes()
    assert refused


@pytest.mark.parametrize(("side", "batch"), [(8, 64), (224, 64), (512, 16), (1024, 4), (4096, 1)])
def test_a_batch_is_of_so_many_patches(side: int, batch: int) -> None:
    assert Shape({"he": ImageShape(side)}, None).batch == batch
