"""TIAToolbox's annotation store, written here with SQLite, and once with TIAToolbox."""

import json
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats.tiatoolbox_db import TiatoolboxDb

FILES = Path(__file__).parent / "files"
"""Created with tiatoolbox 2.1.3 from the mask below:

    contour = cv2.findContours(part, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0][0][:, 0]
    nuclei[uuid] = {"box": ..., "centroid": ..., "contour": contour, "prob": np.float64(0.5),
                    "type": 1}  # as its HoVer-Net does
    joblib.dump(nuclei, "tiatoolbox.dat"); joblib.dump(nuclei, "tiatoolbox_zlib.dat", compress=3)
    annotations = anns_from_hoverdict(nuclei, properties, names, origin=(0, 0), scale_factor=(1, 1))
    SQLiteStore("tiatoolbox.db").append_many(annotations)

and `PRAGMA page_size = 512; VACUUM` to make the store small.
"""

MASK = np.zeros((12, 16), np.int32)
MASK[1:5, 2:7], MASK[2:4, 7] = 1, 1
MASK[6:9, 1:4], MASK[7, 4:8], MASK[6:9, 8:10] = 2, 2, 2  # a narrow part, which the store widens
MASK[9:12, 12:16], MASK[8, 13] = 3, 3

SQUARE = shapely.box(1, 1, 3, 3)


def store(path: Path, rows: list[tuple[Any, Any]], compression: str | None = "zlib") -> Path:
    """A store of version 1.0.1 without its spatial index."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE metadata (key TEXT UNIQUE, value TEXT);"
            "CREATE TABLE annotations(id INTEGER PRIMARY KEY, key TEXT UNIQUE, objtype TEXT,"
            "cx FLOAT NOT NULL, cy FLOAT NOT NULL, geometry BLOB, properties TEXT,"
            "area FLOAT NOT NULL);"
        )
        connection.execute(
            "INSERT INTO metadata VALUES ('compression', ?)", (json.dumps(compression),)
        )
        for number, (geometry, properties) in enumerate(rows):
            if isinstance(geometry, shapely.Geometry):
                geometry = shapely.to_wkb(geometry)
                geometry = zlib.compress(geometry) if compression else geometry
            if not isinstance(properties, str):
                properties = json.dumps(properties)
            connection.execute(
                "INSERT INTO annotations VALUES (NULL, ?, 'Polygon', 0, 0, ?, ?, 0)",
                (str(-number), geometry, properties),
            )
        connection.commit()
    return path


@pytest.mark.parametrize("compression", ["zlib", None])
def test_annotations_are_nuclei_in_the_order_of_their_ids(
    tmp_path: Path, compression: str | None
) -> None:
    path = store(
        tmp_path / "odd name? #%20.db",
        [(SQUARE, {"type": "Dead", "prob": 0.5}), (shapely.box(5, 0, 5, 0.4).buffer(0.3), {})],
        compression,
    )
    assert TiatoolboxDb.recognises(path)
    result = TiatoolboxDb().read(path, (4, 6))
    assert result.instances.tolist() == [[0] * 5 + [2], *[[0, 1, 1, 1, 0, 0]] * 3]
    assert list(result.types.items()) == [(1, "Dead"), (2, None)]


def test_a_store_of_tiatoolbox_is_read() -> None:
    path = FILES / "tiatoolbox.db"
    before = path.read_bytes()
    result = TiatoolboxDb().read(path, MASK.shape)
    np.testing.assert_array_equal(result.instances, MASK)
    assert result.types == {1: "Neoplastic", 2: "Inflammatory", 3: "Non-Neoplastic Epithelial"}
    assert path.read_bytes() == before


def test_no_annotations_are_no_nuclei(tmp_path: Path) -> None:
    result = TiatoolboxDb().read(store(tmp_path / "a.db", []), (4, 6))
    assert not result.instances.any()
    assert not result.types


@pytest.mark.parametrize(
    ("row", "compression", "reason"),
    [
        ((None, {}), "zlib", "not a polygon: nucleus 2 is a point"),
        (
            (shapely.LineString([(0, 0), (1, 1)]), {}),
            "zlib",
            "not a polygon: nucleus 2 is a point, a line",
        ),
        ((SQUARE, {"type": 1}), "zlib", "overlapping nuclei: nucleus 2 loses 9 of its 9 px"),
        ((shapely.box(90, 90, 99, 99), {}), "zlib", "out of bounds: nucleus 2 reaches 96 px"),
        ((shapely.Polygon(), {}), "zlib", "broken polygon: the outline of nucleus 2 is empty"),
        ((b"ab", {}), "zlib", "unreadable: the geometry of nucleus 2 is damaged"),
        ((zlib.compress(b"xyz" * 99)[:-6], {}), "zlib", "unreadable: .* nucleus 2 is truncated"),
        ((zlib.compress(bytes(2**25)), {}), "zlib", "unreadable: .* truncated or too large"),
        ((zlib.compress(b"xyz"), {}), "zlib", "unreadable: .* nucleus 2 is not well-known binary"),
        ((b"xyz", {}), None, "unreadable: .* nucleus 2 is not well-known binary"),
        ((3, {}), None, "unreadable: nucleus 2 has no geometry in bytes"),
        ((shapely.box(4, 0, 5, 1), "{"), "zlib", "unreadable: the properties of nucleus 2 are not"),
        (
            (shapely.box(4, 0, 5, 1), "[" * 99_999),
            "zlib",
            "unreadable: the properties of nucleus 2",
        ),
        (
            (shapely.box(4, 0, 5, 1), {"type": [1]}),
            "zlib",
            "odd type: nucleus 2 has the type 'a list'",
        ),
        ((SQUARE, {}), "lzma", "unreadable: geometries are compressed with lzma"),
        ((b"\x01\x07\0\0\0\x01\0\0\0" * 200_000, {}), None, "not a polygon: nucleus 2 is"),
        ((b"\x01\x06\0\0\0\x01\0\0\0" * 200_000, {}), None, "unreadable: .* not well-known"),
        ((b"\x01\x03\0\0\0\xff\xff\xff\xff", {}), None, "unreadable: .* not well-known binary"),
        ((b"\x01\xeb\x03\0\0\0\0\0\0", {}), None, "unreadable: .* not well-known binary"),
    ],
)
def test_unusable_rows_are_refused_in_one_sentence(
    tmp_path: Path, row: tuple[Any, Any], compression: str | None, reason: str
) -> None:
    path = store(tmp_path / "a.db", [(SQUARE, {"type": 1}), row], compression)
    with pytest.raises(UnreadablePatch, match=reason) as error:
        TiatoolboxDb().read(path, (4, 6))
    assert "\n" not in str(error.value)


def test_other_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with pytest.raises(UnreadablePatch, match=r"no segmentation: there is no a.db"):
        TiatoolboxDb().read(path, (4, 6))
    assert not path.exists()
    path.write_bytes(b"plain text" * 99)
    assert not TiatoolboxDb.recognises(path)
    with pytest.raises(UnreadablePatch, match=r"unreadable: a.db is not a valid SQLite file"):
        TiatoolboxDb().read(path, (4, 6))
    content = (FILES / "tiatoolbox.db").read_bytes()
    for size in (0, 100, 512, 1024, 2000, 4096):
        path.write_bytes(content[:size])
        with pytest.raises(UnreadablePatch, match=r"unreadable: a.db is no"):
            TiatoolboxDb().read(path, (12, 16))
    view = "CREATE VIEW annotations AS SELECT 1; CREATE TABLE metadata (key, value);"
    for script in ("CREATE TABLE other (x);", view):
        path.unlink()
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)
        with pytest.raises(UnreadablePatch, match=r"unreadable: a.db is not an annotation store"):
            TiatoolboxDb().read(path, (4, 6))
