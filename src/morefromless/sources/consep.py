"""CoNSeP: colorectal tiles whose every nucleus was outlined and typed by pathologists."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from morefromless.data.images import image_shape, read_rgb
from morefromless.data.matfiles import read_mat
from morefromless.data.nuclei import ARRAY, Nuclei
from morefromless.data.schemes import CONSEP, CONSEP_SEVEN
from morefromless.errors import ConfigError, DataError, UnreadablePatch
from morefromless.sources import UNLABELLED, Datasheet, Item, Source, Split

FOLDERS: dict[str, Split] = {"Train": "train", "Test": "test"}


class Consep(Source):
    """41 H&E tiles of colorectal adenocarcinoma, 1000 x 1000 px at 0.25 µm/px, 24,332 nuclei.

    From 16 patients, who are not named in the files: a tile is its patches' group. `PATH` holds
    Train/ and Test/, each with Images/*.png and Labels/*.mat. There is no tissue label. The types
    are CoNSeP's merged four; `types=seven` reads the files as published and merges them. Tiles are
    large: `--cut 250` makes patches of them.
    """

    def __init__(self, path: str, types: Literal["merged", "seven"] = "merged") -> None:
        if types not in ("merged", "seven"):
            raise ConfigError(f"consep has no types={types}; give merged or seven.")
        self.path = Path(path).expanduser()
        self.scheme = CONSEP if types == "merged" else CONSEP_SEVEN

    def datasheet(self) -> Datasheet:
        return Datasheet(
            title="CoNSeP",
            licence="CC BY-NC-SA 4.0",
            citation="Graham et al. 2019, HoVer-Net, Medical Image Analysis 58, 101563",
            um_per_px=0.25,
            scheme=self.scheme,
        )

    def items(self) -> Sequence[Item]:
        stems = {
            (folder, file.stem)
            for folder in FOLDERS
            for file in (self.path / folder).glob("*/*")
            if (file.parent.name, file.suffix) in (("Images", ".png"), ("Labels", ".mat"))
            and not file.name.startswith(".")
        }
        if not stems:
            raise DataError(
                f"{self.path} holds no Train/Images/*.png or Test/Images/*.png; check the path."
            )
        return [
            Item(
                id=f"{folder}/{stem}",
                label=UNLABELLED,
                origin=f"{folder}/Images/{stem}.png",
                split=FOLDERS[folder],
                group=stem,
            )
            for folder, stem in sorted(stems)
        ]

    def read(self, item: Item) -> dict[str, npt.NDArray[np.uint8]]:
        image = read_rgb(self._image(item))
        folder, _, stem = item.id.partition("/")
        label = self.path / folder / "Labels" / f"{stem}.mat"
        instances, types = read_mat(label, image.shape)
        return {"he": image, ARRAY: Nuclei.typed(instances, types, self.scheme).encode()}

    def shape(self, item: Item) -> tuple[int, int]:
        return image_shape(self._image(item))

    def _image(self, item: Item) -> Path:
        path = self.path / item.origin
        if not path.is_file():
            raise UnreadablePatch(f"no image: there is no {item.origin}; fetch it")
        return path
