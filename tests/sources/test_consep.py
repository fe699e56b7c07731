"""Tiles in the layout of CoNSeP; `tests/ingest/test_cutting.py` reads the real ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from morefromless.data.nuclei import Nuclei
from morefromless.errors import DataError, UnreadablePatch
from morefromless.sources.consep import Consep

MAP = np.zeros((6, 4))
MAP[1], MAP[3, :2] = 2, 5
IMAGE = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)


def tile(root: Path, name: str, types: Any = (1, 4), instances: np.ndarray = MAP) -> None:
    for folder in ("Images", "Labels"):
        (root / name).parent.joinpath(folder).mkdir(parents=True, exist_ok=True)
    top, stem = (root / name).parent, Path(name).name
    Image.fromarray(IMAGE).save(top / "Images" / f"{stem}.png")
    savemat(
        top / "Labels" / f"{stem}.mat",
        {"inst_map": instances, "inst_type": np.array(types, float)[:, None]},
    )


def test_tiles_are_read_with_their_nuclei(tmp_path: Path) -> None:
    tile(tmp_path, "Train/train_1")
    tile(tmp_path, "Test/test_1")
    source = Consep(str(tmp_path))
    items = source.items()
    assert [(item.id, item.split, item.group) for item in items] == [
        ("Test/test_1", "test", "test_1"),
        ("Train/train_1", "train", "train_1"),
    ]
    assert (items[0].label, items[0].origin) == ("unlabelled", "Test/Images/test_1.png")
    assert "so tiles of one patient count as several groups" in source.remarks()[0]
    arrays = source.read(items[0])
    np.testing.assert_array_equal(arrays["he"], IMAGE)
    nuclei = Nuclei.decode(arrays["nuclei"])
    assert (nuclei.types.tolist(), nuclei.areas.tolist()) == ([1, 4], [4, 2])
    np.testing.assert_array_equal(nuclei.instances > 0, MAP > 0)
    assert source.shape(items[0]) == (6, 4)
    sheet = source.datasheet()
    assert (sheet.um_per_px, sheet.scheme and sheet.scheme.name) == (0.25, "consep")
    assert source.skipped_files() == {}
    for name in ("Images/test_2.bmp", "Labels/test_1.npy", "Overlay/test_1.png"):
        (tmp_path / "Test" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "Test" / name).touch()
    assert source.skipped_files() == {
        "file ending in '.bmp' in Images": 1,
        "file ending in '.npy' in Labels": 1,
    }


def test_types_option_merges_seven_types(tmp_path: Path) -> None:
    tile(tmp_path, "Train/train_1", types=(4, 7))
    merged, seven = Consep(str(tmp_path)), Consep(str(tmp_path), types="seven")
    with pytest.raises(UnreadablePatch, match="type outside the scheme: '7' is not in consep"):
        merged.read(merged.items()[0])
    encoded = seven.read(seven.items()[0])["nuclei"]
    assert Nuclei.decode(encoded).types.tolist() == [3, 4]


def test_unusable_tiles_are_refused(tmp_path: Path) -> None:
    for name, options in {
        "1": {"types": (1,)},
        "2": {"types": (1, 2, 3)},
        "3": {"instances": MAP[:, :2]},
        "4": {"instances": MAP / 2},
        "5": {},
        "6": {},
    }.items():
        tile(tmp_path, f"Train/{name}", **options)
    (tmp_path / "Train" / "Labels" / "5.mat").unlink()
    (tmp_path / "Train" / "Images" / "6.png").unlink()
    reasons = [
        "instance without a type: 5; ",
        "type without an instance: 6; ",
        "another size: mask 2 x 6, image 4 x 6; ",
        "float mask: inst_map holds fractions; ",
        "no segmentation: there is no 5.mat; ",
        "no image: there is no file Train/Images/6.png; ",
    ]
    source = Consep(str(tmp_path))
    for item, reason in zip(source.items(), reasons, strict=True):
        with pytest.raises(UnreadablePatch, match=reason):
            source.read(item)
    with pytest.raises(UnreadablePatch, match="no image: "):
        source.shape(source.items()[-1])
    with pytest.raises(DataError, match=r"contains no Train/Images/\*\.png"):
        Consep(str(tmp_path / "Train")).items()


def test_folder_names_are_case_insensitive(tmp_path: Path) -> None:
    for name in ("train/1", "test/2"):
        tile(tmp_path, name)
    for folder in (tmp_path / "train", tmp_path / "test"):
        (folder / "Images").rename(folder / "images")
        (folder / "Labels").rename(folder / "labels")
    source = Consep(str(tmp_path))
    items = source.items()
    assert [(item.id, item.split) for item in items] == [("test/2", "test"), ("train/1", "train")]
    assert items[0].origin == "test/images/2.png"
    assert set(source.read(items[0])) == {"he", "nuclei"}
