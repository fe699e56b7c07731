"""Small sources for the tests of this folder."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from morefromless.errors import UnreadablePatch
from morefromless.sources import Datasheet, Item, Source


def patch(seed: int, side: int = 16) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def folder(root: Path, names: dict[str, int], side: int = 16) -> Path:
    """Png files by path below `root`, each drawn from its seed."""
    for name, seed in names.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(patch(seed, side)).save(path)
    return root


def two_classes(root: Path, count: int = 10) -> Path:
    names = {f"{'AB'[i % 2]}/{i:03}.png": i for i in range(count)}
    return folder(root, names)


class Counting(Source):
    """Random patches; every read is recorded in `log`. Some are unusable, some are copies."""

    def __init__(self, log: Path, count: int, side: int = 8) -> None:
        self.log, self.count, self.side = log, count, side

    def datasheet(self) -> Datasheet:
        return Datasheet(title="counting", um_per_px=0.5)

    def items(self) -> list[Item]:
        return [
            Item(id=f"{i}", label="AB"[i % 2], origin=f"row {i}", group=f"P{i % 7}")
            for i in range(self.count)
        ]

    def read(self, item: Item) -> dict[str, npt.NDArray[np.uint8]]:
        number = int(item.id)
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{number}\n".encode())
        os.close(descriptor)
        if number % 11 == 3:
            raise UnreadablePatch("unreadable: as drawn")
        return {"he": patch(number if number % 13 else 0, self.side)}

    def readings(self) -> list[int]:
        return [int(line) for line in self.log.read_text().split()]


def contents(store: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(store.iterdir())}
