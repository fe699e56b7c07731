"""Every format in, GeoJSON out, in again: the same nuclei, types and areas to a pixel."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pytest
import shapely
from PIL import Image
from scipy.io import savemat

from morefromless import nuclei_formats
from morefromless.data.geojson import write_geojson
from morefromless.data.nuclei import ARRAY, Nuclei
from morefromless.data.schemes import PANNUKE
from morefromless.ingest.segmented import WithNuclei
from morefromless.nuclei_formats import NucleiFormat
from morefromless.sources.folder import Folder
from morefromless.specs import members
from tests.nuclei_formats.test_tiatoolbox_db import store

SIDE = 48
# x, y, width, height, type: touching, on the border, one pixel, and one of every type.
BOXES = [
    (0, 0, 5, 7, 1),
    (5, 0, 4, 4, 2),
    (10, 10, 1, 1, 3),
    (12, 9, 8, 2, 4),
    (44, 40, 4, 8, 5),
    (12, 11, 3, 9, 1),
    (30, 30, 9, 9, 5),
]


def truth() -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    instances = np.zeros((SIDE, SIDE), np.int32)
    for number, (x, y, width, height, _) in enumerate(BOXES, 1):
        instances[y : y + height, x : x + width] = number
    return instances, np.array([kind for *_, kind in BOXES], np.uint8)


def contours() -> list[npt.NDArray[np.int32]]:
    """Corners through pixel centres, as OpenCV gives them."""
    return [
        np.array([[x, y], [x, y + h - 1], [x + w - 1, y + h - 1], [x + w - 1, y]], np.int32)
        for x, y, w, h, _ in BOXES
    ]


def hovernet_json(folder: Path) -> None:
    nuclei = {
        str(number): {"bbox": [], "contour": contour.tolist(), "type": BOXES[number - 1][4]}
        for number, contour in enumerate(contours(), 1)
    }
    (folder / "a.json").write_text(json.dumps({"mag": None, "nuc": nuclei}))


def mat(folder: Path) -> None:
    instances, types = truth()
    savemat(folder / "a.mat", {"inst_map": instances.astype(float), "inst_type": types[:, None]})


def tiatoolbox_dat(folder: Path) -> None:
    nuclei = {
        f"id-{number}": {"contour": contour, "type": BOXES[number][4], "prob": 0.5}
        for number, contour in enumerate(contours())
    }
    joblib.dump(nuclei, folder / "a.dat")


def tiatoolbox_db(folder: Path) -> None:
    shapes: list[Any] = [
        shapely.Polygon(c) if shapely.Polygon(c).area else shapely.Point(c[0]) for c in contours()
    ]
    for k, (x, y, w, h, _) in enumerate(BOXES):
        if min(w, h) == 1:  # a polygon without area, as the network's contour would be
            shapes[k] = shapely.box(x, y, x + w - 1, y + h - 1).buffer(0.01)
    names = PANNUKE.types
    store(folder / "a.db", [(s, {"type": names[b[4]]}) for s, b in zip(shapes, BOXES, strict=True)])


def geojson(folder: Path) -> None:
    features = [
        {
            "type": "Feature",
            "geometry": shapely.geometry.mapping(shapely.box(x, y, x + w, y + h)),
            "properties": {"classification": {"name": PANNUKE.types[kind]}},
        }
        for x, y, w, h, kind in BOXES
    ]
    (folder / "a.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": features})
    )


def label_images(folder: Path) -> None:
    instances, types = truth()
    drawn = {"instances": instances, "types": np.append(0, types)[instances]}
    for name, image in drawn.items():
        (folder / name).mkdir()
        Image.fromarray(image.astype(np.uint8)).save(folder / name / "a.png")


def npy(folder: Path) -> None:
    instances, types = truth()
    np.save(folder / "a.npy", np.stack([instances, np.append(0, types)[instances]], -1))


def pannuke_npy(folder: Path) -> None:
    instances, types = truth()
    mask = np.zeros((SIDE, SIDE, 6))
    for number, kind in enumerate(types, 1):
        mask[..., kind - 1] += number * (instances == number)
    mask[..., 5] = instances == 0
    np.save(folder / "a.npy", mask)


WRITERS: dict[str, Callable[[Path], None]] = {
    "hovernet-json": hovernet_json,
    "mat": mat,
    "tiatoolbox-dat": tiatoolbox_dat,
    "tiatoolbox-db": tiatoolbox_db,
    "geojson": geojson,
    "label-images": label_images,
    "npy": npy,
}


def read(images: Path, masks: Path) -> Nuclei:
    """Through the same door as `mfl ingest --nuclei`, the format being told by the file."""
    source = WithNuclei(Folder(str(images), classes="none"), masks, PANNUKE)
    (item,) = source.items()
    return Nuclei.decode(source.read(item)[ARRAY])


def listed(nuclei: Nuclei) -> list[tuple[int, int, bytes]]:
    """Each nucleus' type, area and pixels, whatever its number."""
    return sorted(
        (int(kind), int(area), (nuclei.instances == number).tobytes())
        for number, (kind, area) in enumerate(zip(nuclei.types, nuclei.areas, strict=True), 1)
    )


@pytest.mark.parametrize("write", [*WRITERS.values(), pannuke_npy], ids=lambda w: w.__name__)
def test_in_out_and_in_again(write: Callable[[Path], None], tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8)).save(images / "a.png")
    write(masks)
    first = read(images, masks)
    instances, types = truth()
    assert listed(first) == listed(Nuclei(instances, types, np.ones(len(types), bool)))
    write_geojson(first, PANNUKE, tmp_path / "out" / "a.geojson")
    second = read(images, tmp_path / "out")
    np.testing.assert_array_equal(second.instances, first.instances)
    np.testing.assert_array_equal(second.types, first.types)
    np.testing.assert_array_equal(second.areas, first.areas)


def test_no_format_is_left_out() -> None:
    assert set(WRITERS) == set(members(nuclei_formats, NucleiFormat))
