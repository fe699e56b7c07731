"""Nuclei of a tile of 1000 x 1000 px: reading, counting, and views of their masks."""

import json
import tempfile
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy.io import savemat

from benchmarks import Call, Row, Stage
from morefromless.data.geojson import write_geojson
from morefromless.data.nuclei import Nuclei as Tile
from morefromless.data.nuclei import assign_border_nuclei, nuclei_table
from morefromless.data.schemes import PANNUKE
from morefromless.modalities.full import Full
from morefromless.modalities.nuclei import Nuclei as Mask
from morefromless.nuclei_formats.geojson import Geojson
from morefromless.nuclei_formats.hovernet_json import HovernetJson
from morefromless.nuclei_formats.mat import Mat
from morefromless.views.table_s1 import TableS1

SIDE = 1000


class Nuclei(Stage):
    """`read`: files of one tile, compared with one unchecked Pillow polygon per nucleus. `count`:
    areas, compared with one comparison of the whole tile per nucleus. `views`: views of 64 masks,
    compared with views of their images."""

    variants = ("read", "count", "views")

    def __init__(self, work: Literal["read", "count", "views"] = "read", nuclei: int = 1500):
        self.work, self.count = work, nuclei

    @property
    def title(self) -> str:
        what = {"read": "reading", "count": "counting", "views": "views of"}[self.work]
        return f"{what.capitalize()} {self.count:,} nuclei on {SIDE} x {SIDE} px"

    @property
    def units(self) -> tuple[float, str]:
        return 1, "tiles"

    @cached_property
    def tile(self) -> Tile:
        """Ellipses on a jittered grid, 8 to 20 px long."""
        rng = np.random.default_rng(0)
        image = Image.new("I", (SIDE, SIDE))
        pen = ImageDraw.Draw(image)
        cells = int(np.ceil(self.count**0.5))
        for number in range(1, self.count + 1):
            row, column = divmod(number - 1, cells)
            width, height = rng.uniform(8, 20, 2)
            x, y = np.array((column, row)) * SIDE / cells + rng.uniform(0, 5, 2)
            pen.ellipse([x, y, x + width, y + height], fill=number)
        instances = np.asarray(image).astype(np.int32)
        types = {int(k): 1 + int(k) % 5 for k in np.unique(instances) if k}
        return Tile.typed(instances, types, PANNUKE)

    def rows(self) -> list[Row]:
        work = {"read": self._reading, "count": self._counting, "views": self._views}
        ways = work[self.work]()
        return [
            Row(name, partial(_identity, call), compared="one" in name or "images at" in name)
            for name, call in ways.items()
        ]

    def _reading(self) -> dict[str, Call]:
        folder = Path(tempfile.mkdtemp())
        write_geojson(self.tile, PANNUKE, folder / "a.geojson")
        types = self.tile.types[:, None]
        savemat(folder / "a.mat", {"inst_map": self.tile.instances, "inst_type": types})
        features = json.loads((folder / "a.geojson").read_text())["features"]
        parts = [feature["geometry"]["coordinates"][0] for feature in features]
        rings = [part if isinstance(part[0][0], int | float) else part[0] for part in parts]
        contours = {str(k): {"contour": ring, "type": 1} for k, ring in enumerate(rings, 1)}
        (folder / "a.json").write_text(json.dumps({"mag": None, "nuc": contours}))
        shape = (SIDE, SIDE)

        def by_pillow() -> object:
            image = Image.new("I", shape)
            pen = ImageDraw.Draw(image)
            nuclei = json.loads((folder / "a.json").read_text())["nuc"]
            for number, nucleus in enumerate(nuclei.values(), 1):
                pen.polygon([tuple(point) for point in nucleus["contour"]], fill=number)
            return np.asarray(image)

        return {
            "HoVer-Net json": lambda: HovernetJson().read(folder / "a.json", shape),
            "the same, one Pillow polygon a nucleus": by_pillow,
            "GeoJSON": lambda: Geojson().read(folder / "a.geojson", shape),
            ".mat": lambda: Mat().read(folder / "a.mat", shape),
            "writing GeoJSON": lambda: write_geojson(self.tile, PANNUKE, folder / "b.geojson"),
        }

    def _counting(self) -> dict[str, Call]:
        instances, count = self.tile.instances, len(self.tile.types)
        coded, patches = self.tile.encode(), self._patches()
        return {
            "areas": lambda: self.tile.areas,
            "areas, one comparison a nucleus": lambda: [
                int((instances == k).sum()) for k in range(1, count + 1)
            ],
            "border nuclei of 64 patches": lambda: assign_border_nuclei(coded, 125),
            "table of 64 patches": lambda: nuclei_table(patches),
        }

    def _views(self) -> dict[str, Call]:
        batch = torch.from_numpy(self._patches())
        masks, images = Mask().render(batch, 64), Full().render(batch, 64)
        preset, generator = TableS1(), torch.Generator().manual_seed(0)
        return {
            "64 masks at 64 px": lambda: preset.augment_mask(masks, generator),
            "64 images at 64 px": lambda: preset.augment(images, generator),
            "rendering 64 masks": lambda: Mask().render(batch, 64),
            "rendering 64 images": lambda: Full().render(batch, 64),
        }

    def _patches(self) -> np.ndarray:
        """Patches of the tile, (64, 125, 125, 3)."""
        coded, corners = self.tile.encode(), range(0, SIDE, 125)
        return np.stack([coded[y : y + 125, x : x + 125] for y in corners for x in corners])


def _identity(call: Call) -> Call:
    return call
