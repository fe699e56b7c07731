"""Ingest of JPEG patches, beside what limits it: the decoder and the disk."""

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks import Call, Row, Stage
from morefromless.data.images import image_files, read_rgb
from morefromless.ingest import ingest
from morefromless.ingest.decoding import threaded
from morefromless.synthesis import DRAWINGS, Patient, Rng, draw

Pixels = npt.NDArray[np.uint8]
WORKERS = 2


class Ingest(Stage):
    """Drawn patches as JPEG of quality 90, read by two threads from warm files.

    The decoders' rows only decode. The disk's row reads the files and writes as many bytes as the
    shards and the store have, and syncs them: what an ingest of all of them must write.
    """

    clock = "wall"
    threads = WORKERS

    def __init__(self, patches: int = 2000, size: int = 224) -> None:
        self.count, self.size = patches, size
        self._temporary = tempfile.TemporaryDirectory()

    @property
    def title(self) -> str:
        return f"Ingest of {self.count:,} JPEG patches of {self.size} px, {WORKERS} threads"

    @property
    def units(self) -> tuple[float, str]:
        return self.count, "patches"

    @cached_property
    def folder(self) -> Path:
        folder = Path(self._temporary.name) / "patches"
        tissues = [name for name in DRAWINGS if name not in ("ADI", "BACK")]
        drawn = [
            draw(name, Patient.drawn(Rng(0, 0, i)), Rng(0, 1, i), self.size).image
            for i, name in enumerate(tissues)
        ]
        for number in range(self.count):
            path = folder / tissues[number % 7] / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            shifted = np.roll(drawn[number % 7], (7 * number, 11 * number), axis=(0, 1))
            Image.fromarray(shifted).save(path, quality=90)
        return folder

    @cached_property
    def files(self) -> list[Path]:
        return [self.folder / name for name in image_files(self.folder)]

    def rows(self) -> list[Row]:
        return [
            Row("from a folder", self._from_folder),
            Row("from a zip", self._from_zip),
            Row("its decoder alone", partial(self._decoder, read_rgb)),
            Row("Pillow alone", partial(self._decoder, _pillow), "pillow"),
            Row("imagecodecs alone", self._imagecodecs, "imagecodecs"),
            Row("the disk alone", self._disk),
        ]

    def _from_folder(self) -> Call:
        return partial(self._ingest, str(self.folder))

    def _from_zip(self) -> Call:
        path = Path(self._temporary.name) / "patches.zip"
        if not path.exists():
            shutil.make_archive(str(path.with_suffix("")), "zip", self.folder)
        return partial(self._ingest, str(path))

    def _ingest(self, source: str) -> None:
        store = Path(self._temporary.name) / "store"
        shutil.rmtree(store, ignore_errors=True)
        ingest(source, store, workers=WORKERS, progress=False)

    def _decoder(self, decode: Callable[[Path], Pixels]) -> Call:
        def decode_all() -> None:
            for _ in threaded(decode, self.files, WORKERS):
                pass

        return decode_all

    def _imagecodecs(self) -> Call:
        from imagecodecs import jpeg8_decode

        return self._decoder(lambda path: jpeg8_decode(path.read_bytes()))

    def _disk(self) -> Call:
        block = np.random.default_rng(0).bytes(3 * self.size**2)

        def read_and_write() -> None:
            for copy in ("shards", "store"):
                path = Path(self._temporary.name) / copy / "bytes"
                path.parent.mkdir(exist_ok=True)
                with path.open("wb") as out:
                    for file in self.files:
                        if copy == "shards":
                            file.read_bytes()
                        out.write(block)
                    os.fsync(out.fileno())
                path.unlink()

        return read_and_write


def _pillow(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image)
