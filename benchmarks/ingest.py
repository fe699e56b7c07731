"""Ingest of JPEG patches, compared with its limits: the decoder and the disk."""

import math
import mmap
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks import Call, Row, Stage
from morefromless.data.images import list_images, read_rgb
from morefromless.ingest import ingest
from morefromless.ingest.decoding import FORKED_AHEAD
from morefromless.ingest.parallel import forked, threaded
from morefromless.synthesis import DRAWINGS, Patient, Rng, draw

Pixels = npt.NDArray[np.uint8]
WORKERS, BATCH = 2, 64
DECODER_ROW, DISK_ROW = "its decoder alone", "the disk alone"
FIELD_PATCHES = 5
"""Side of a drawn field, in sides of a patch. Patches cut from a field all differ."""


class Ingest(Stage):
    """Drawn patches as JPEG of quality 90, read by two workers from cached files.

    The decoder rows only read and decode, in two processes or in threads. The disk row writes as
    many bytes as the store's array has, once, bypassing the page cache, and syncs them. The last
    row only does both: two processes decode into memory that they share with the writing process.
    `patches=100000` needs 19 GB for temporary files.
    """

    variants = ("", "patches=20000")
    clock = "wall"
    threads = WORKERS
    figure = "share of the lower limit, processor ms a patch"

    def __init__(self, patches: int = 2000, size: int = 224) -> None:
        self.count, self.size = patches, size
        self._temporary = tempfile.TemporaryDirectory()
        self._seconds: dict[str, list[tuple[float, float]]] = {}

    @property
    def title(self) -> str:
        return f"Ingest of {self.count:,} JPEG patches of {self.size} px, {WORKERS} workers"

    @property
    def units(self) -> tuple[float, str]:
        return self.count, "patches"

    @cached_property
    def folder(self) -> Path:
        folder = Path(self._temporary.name) / "patches"
        tissues = [name for name in DRAWINGS if name not in ("ADI", "BACK")]
        fields = [
            draw(name, Patient.sample(Rng(0, 0, i)), Rng(0, 1, i), FIELD_PATCHES * self.size).image
            for i, name in enumerate(tissues)
        ]
        kinds = len(tissues)
        grid = math.ceil(math.sqrt(self.count / kinds))
        corners = np.linspace(0, (FIELD_PATCHES - 1) * self.size, grid).astype(int)
        for number in range(self.count):
            path = folder / tissues[number % kinds] / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            y, x = corners[list(divmod(number // kinds, grid))]
            patch = fields[number % kinds][y : y + self.size, x : x + self.size]
            Image.fromarray(patch).save(path, quality=90)
        return folder

    @cached_property
    def files(self) -> list[Path]:
        return [self.folder / name for name in list_images(self.folder)[0]]

    def rows(self) -> list[Row]:
        return [
            self._row("from a folder", self._from_folder),
            self._row("from a zip", self._from_zip),
            self._row(DECODER_ROW, self._decoder_forked),
            self._row("its decoder in threads", partial(self._decoder, read_rgb)),
            self._row("Pillow in threads", partial(self._decoder, _pillow), "pillow"),
            self._row("imagecodecs in threads", self._imagecodecs, "imagecodecs"),
            self._row(DISK_ROW, self._disk),
            self._row("its decoder and the disk", self._decoder_and_disk),
        ]

    def _row(self, name: str, prepare: Callable[[], Call], package: str | None = None) -> Row:
        def prepare_clocked() -> Call:
            call = prepare()

            def clocked() -> float:
                wall, processor = time.perf_counter(), _processor_time()
                call()
                durations = time.perf_counter() - wall, _processor_time() - processor
                self._seconds.setdefault(name, []).append(durations)
                shutil.rmtree(self._store, ignore_errors=True)  # the disk row needs the space
                return durations[0]

            return clocked

        return Row(name, prepare_clocked, package, partial(self._share, name))

    def _share(self, name: str) -> str:
        medians = {
            row: [statistics.median(column) for column in zip(*durations, strict=True)]
            for row, durations in self._seconds.items()
        }
        limit = max(medians[row][0] for row in (DECODER_ROW, DISK_ROW))
        wall, processor = medians[name]
        return f"{100 * limit / wall:.0f} %, {1000 * processor / self.count:.2f}"

    def _from_folder(self) -> Call:
        return partial(self._ingest, str(self.folder))

    def _from_zip(self) -> Call:
        path = Path(self._temporary.name) / "patches.zip"
        if not path.exists():
            shutil.make_archive(str(path.with_suffix("")), "zip", self.folder)
        return partial(self._ingest, str(path))

    @property
    def _store(self) -> Path:
        return Path(self._temporary.name) / "store"

    def _ingest(self, source: str) -> None:
        ingest(source, self._store, workers=WORKERS, progress=False)

    def _decoder_forked(self) -> Call:
        def decode(start: int) -> None:
            for path in self.files[start : start + BATCH]:
                read_rgb(path)

        def decode_all() -> None:
            for _ in forked(decode, range(0, self.count, BATCH), WORKERS):
                pass

        return decode_all

    def _decoder_and_disk(self) -> Call:
        def write() -> None:
            with _Blocks(self._bytes, self._patch, FORKED_AHEAD) as out:

                def decode(start: int) -> int:
                    block = out.block(start)
                    for place, path in enumerate(self.files[start : start + BATCH]):
                        block[place] = read_rgb(path).reshape(-1)
                    return start

                # While one block is written, the next blocks are decoded.
                for start in forked(decode, range(0, self.count, BATCH), WORKERS, FORKED_AHEAD):
                    out.write(start)
                out.sync()

        return write

    def _decoder(self, decode: Callable[[Path], Pixels]) -> Call:
        def decode_all() -> None:
            for _ in threaded(decode, self.files, WORKERS):
                pass

        return decode_all

    def _imagecodecs(self) -> Call:
        from imagecodecs import jpeg8_decode

        return self._decoder(lambda path: jpeg8_decode(path.read_bytes()))

    def _disk(self) -> Call:
        def write() -> None:
            with _Blocks(self._bytes, self._patch, 1) as out:
                block = out.block(0)
                block[:] = np.random.default_rng(0).integers(0, 256, block.shape, np.uint8)
                for start in range(0, self.count, BATCH):
                    out.write(start)
                out.sync()

        return write

    @property
    def _patch(self) -> int:
        return 3 * self.size**2

    @property
    def _bytes(self) -> Path:
        return Path(self._temporary.name) / "bytes"


class _Blocks:
    """A file of rows, written in blocks of `BATCH` from memory to the disk without a copy. `count`
    blocks are in memory that forked processes share."""

    def __init__(self, path: Path, row: int, count: int) -> None:
        self.path, self.count = path, count
        memory = mmap.mmap(-1, count * BATCH * row)
        self._memory = np.frombuffer(memory, np.uint8).reshape(count, BATCH, row)

    def block(self, first: int) -> Pixels:
        """The memory of the rows starting at `first`: (BATCH, bytes per row)."""
        block: Pixels = self._memory[first // BATCH % self.count]
        return block

    def __enter__(self) -> "_Blocks":
        flags = os.O_WRONLY | os.O_CREAT
        try:
            self._file = os.open(self.path, flags | os.O_DIRECT)
        except (AttributeError, OSError):  # not every system and file system supports it
            self._file = os.open(self.path, flags)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
        self.path.unlink()

    def write(self, first: int) -> None:
        block = self.block(first)
        os.pwrite(self._file, block.data.cast("B"), first * block.shape[1])

    def sync(self) -> None:
        os.fdatasync(self._file)


def _processor_time() -> float:
    """CPU seconds of this process and its child processes."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _pillow(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image)
