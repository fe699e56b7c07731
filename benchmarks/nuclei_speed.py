"""Nuclei of one 1000 x 1000 px tile: read, coded, counted, written; and views of masks.

    python benchmarks/nuclei_speed.py [--nuclei 1500] [--repeats 5]

Beside it stands the plain way: one Pillow polygon a nucleus, one comparison of the whole tile a
nucleus, and the views of an image of the same size.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy.io import savemat

from morefromless.data.geojson import write_geojson
from morefromless.data.nuclei import Nuclei, census, counted_at_home
from morefromless.data.schemes import PANNUKE
from morefromless.modalities.full import Full
from morefromless.modalities.nuclei import Nuclei as Mask
from morefromless.segmentations.geojson import Geojson
from morefromless.segmentations.hovernet_json import HovernetJson
from morefromless.segmentations.mat import Mat
from morefromless.views.table_s1 import TableS1

SIDE = 1000


def drawn(count: int) -> tuple[np.ndarray, dict[int, int]]:
    """Ellipses on a jittered grid, 8 to 20 px long."""
    rng = np.random.default_rng(0)
    image = Image.new("I", (SIDE, SIDE))
    pen = ImageDraw.Draw(image)
    cells = int(np.ceil(count**0.5))
    step = SIDE / cells
    for number in range(1, count + 1):
        row, column = divmod(number - 1, cells)
        width, height = rng.uniform(8, 20, 2)
        x, y = column * step + rng.uniform(0, 5), row * step + rng.uniform(0, 5)
        pen.ellipse([x, y, x + width, y + height], fill=number)
    instances = np.asarray(image).astype(np.int32)
    return instances, {int(k): 1 + int(k) % 5 for k in np.unique(instances) if k}


def seconds(call: Callable[[], object], repeats: int) -> float:
    call()
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nuclei", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    instances, types = drawn(options.nuclei)
    nuclei = Nuclei.typed(instances, types, PANNUKE)
    coded = nuclei.encode()
    folder = Path(tempfile.mkdtemp())
    write_geojson(nuclei, PANNUKE, folder / "a.geojson")
    savemat(folder / "a.mat", {"inst_map": nuclei.instances, "inst_type": nuclei.types[:, None]})
    rings = [
        feature["geometry"]["coordinates"]
        for feature in json.loads((folder / "a.geojson").read_text())["features"]
    ]
    flat = [part if isinstance(part[0][0], (int, float)) else part[0] for (part, *_) in rings]
    hovernet = {str(k): {"contour": ring, "type": 1} for k, ring in enumerate(flat, 1)}
    (folder / "a.json").write_text(json.dumps({"mag": None, "nuc": hovernet}))
    shape = (SIDE, SIDE)

    def by_pillow() -> np.ndarray:
        image = Image.new("I", shape)
        pen = ImageDraw.Draw(image)
        held = json.loads((folder / "a.json").read_text())["nuc"]
        for number, nucleus in enumerate(held.values(), 1):
            pen.polygon([tuple(point) for point in nucleus["contour"]], fill=number)
        return np.asarray(image)

    def by_comparison() -> list[int]:
        return [int((nuclei.instances == k).sum()) for k in range(1, len(nuclei.types) + 1)]

    patches = np.stack(
        [coded[y : y + 125, x : x + 125] for y in range(0, 1000, 125) for x in range(0, 1000, 125)]
    )
    batch = torch.from_numpy(patches)
    masks, images = Mask().render(batch, 64), Full().render(batch, 64)
    preset, generator = TableS1(), torch.Generator().manual_seed(0)
    rows: dict[str, Callable[[], object]] = {
        "read GeoJSON": lambda: Geojson().read(folder / "a.geojson", shape),
        "read HoVer-Net json": lambda: HovernetJson().read(folder / "a.json", shape),
        "  plain: one Pillow polygon a nucleus, unchecked": by_pillow,
        "read .mat": lambda: Mat().read(folder / "a.mat", shape),
        "write GeoJSON": lambda: write_geojson(nuclei, PANNUKE, folder / "b.geojson"),
        "code": nuclei.encode,
        "decode": lambda: Nuclei.decode(coded),
        "count areas": lambda: nuclei.areas,
        "  plain: one comparison a nucleus": by_comparison,
        "count at home, for 64 patches": lambda: counted_at_home(coded, 125),
        "census of 64 patches": lambda: census(patches),
        "64 masks seen at 64 px": lambda: Mask().render(batch, 64),
        "  64 images seen at 64 px": lambda: Full().render(batch, 64),
        "64 masks' views": lambda: preset.augment_mask(masks, generator),
        "  64 images' views": lambda: preset.augment(images, generator),
    }
    print(
        f"{len(nuclei.types):,} nuclei on {SIDE} x {SIDE} px; milliseconds, medians of "
        f"{options.repeats}"
    )
    for name, call in rows.items():
        print(f"{name:50} {1000 * seconds(call, options.repeats):9.1f}")


if __name__ == "__main__":
    main()
