"""Read every format, write GeoJSON, read again: the same nuclei, types and areas."""

import gzip
import json
import zipfile
import zlib
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

from morefromless.data.geojson import write_geojson
from morefromless.data.nuclei import NUCLEI_ARRAY, Nuclei
from morefromless.data.schemes import PANNUKE
from morefromless.ingest.segmented import WithNuclei
from morefromless.sources.folder import Folder
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
    """Corners at pixel centres, as returned by OpenCV."""
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
        if min(w, h) == 1:  # a polygon without area, like the network's contour
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
    images = {"instances": instances, "types": np.append(0, types)[instances]}
    for name, image in images.items():
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


def cellvit(folder: Path) -> None:
    cells = [
        {"bbox": [], "contour": contour.tolist(), "type": BOXES[k][4], "cell_status": 1}
        for k, contour in enumerate(contours())
    ]
    names = {str(code): name for code, name in enumerate(PANNUKE.types)}
    (folder / "a").mkdir()
    (folder / "a" / "cells.json").write_text(
        json.dumps({"wsi_metadata": {"magnification": 40}, "type_map": names, "cells": cells})
    )


def cellvit_geojson(folder: Path) -> None:
    parts_by_type: dict[int, list[Any]] = {}
    for (*_, kind), contour in zip(BOXES, contours(), strict=True):
        parts_by_type.setdefault(kind, []).append([[*contour.tolist(), contour[0].tolist()]])
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "MultiPolygon", "coordinates": parts},
            "properties": {
                "objectType": "annotation",
                "classification": {"name": PANNUKE.types[kind]},
            },
        }
        for kind, parts in parts_by_type.items()
    ]
    (folder / "a_cells.geojson").write_text(json.dumps(features))


def hover_next_outlines(folder: Path) -> None:
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "LineString", "coordinates": [*c.tolist(), c[0].tolist()]},
            "properties": {
                "Name": f"Nuc {k}",
                "Type": "Polygon",
                "classification": {"name": PANNUKE.types[BOXES[k][4]].lower()},
            },
        }
        for k, c in enumerate(contours())
    ]
    (folder / "a").mkdir()
    (folder / "a" / "poly.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": features})
    )


def hover_next(folder: Path) -> None:
    instances, types = truth()
    header = {
        "zarr_format": 2,
        "shape": [SIDE, SIDE],
        "chunks": [32, 32],
        "dtype": "<i4",
        "compressor": {"id": "zlib", "level": 1},
        "fill_value": 0,
        "order": "C",
        "filters": None,
    }
    (folder / "a").mkdir()
    with zipfile.ZipFile(folder / "a" / "pinst_pp.zip", "w") as archive:
        archive.writestr(".zarray", json.dumps(header))
        padded = np.pad(instances, (0, 64 - SIDE))
        for row in range(2):
            for column in range(2):
                part = padded[32 * row :, 32 * column :][:32, :32].astype("<i4")
                archive.writestr(f"{row}.{column}", zlib.compress(part.tobytes()))
    table = {str(k): [int(kind), [0.0, 0.0]] for k, kind in enumerate(types, 1)}
    (folder / "a" / "class_inst.json").write_text(json.dumps(table))


def geojson_packed(folder: Path) -> None:
    geojson(folder)
    plain = folder / "a.geojson"
    (folder / "a.geojson.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()


WRITERS: tuple[Callable[[Path], None], ...] = (
    hovernet_json,
    mat,
    tiatoolbox_dat,
    tiatoolbox_db,
    geojson,
    geojson_packed,
    label_images,
    npy,
    pannuke_npy,
    cellvit,
    cellvit_geojson,
    hover_next,
    hover_next_outlines,
)


def read(images: Path, masks: Path) -> Nuclei:
    """Read with the same function as `mfl ingest --nuclei`; the file selects the format."""
    source = WithNuclei(Folder(str(images), classes="none"), masks, PANNUKE)
    (item,) = source.items()
    return Nuclei.decode(source.read(item)[NUCLEI_ARRAY])


def sorted_nuclei(nuclei: Nuclei) -> list[tuple[int, int, bytes]]:
    """Type, area and pixels of each nucleus, regardless of its number."""
    return sorted(
        (int(kind), int(area), (nuclei.instances == number).tobytes())
        for number, (kind, area) in enumerate(zip(nuclei.types, nuclei.areas, strict=True), 1)
    )


@pytest.mark.parametrize("write", WRITERS, ids=lambda w: w.__name__)
def test_nuclei_survive_a_round_trip(write: Callable[[Path], None], tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8)).save(images / "a.png")
    write(masks)
    first = read(images, masks)
    instances, types = truth()
    assert sorted_nuclei(first) == sorted_nuclei(
        Nuclei(instances, types, np.ones(len(types), bool))
    )
    write_geojson(first, PANNUKE, tmp_path / "out" / "a.geojson")
    second = read(images, tmp_path / "out")
    np.testing.assert_array_equal(second.instances, first.instances)
    np.testing.assert_array_equal(second.types, first.types)
    np.testing.assert_array_equal(second.areas, first.areas)
