"""Npz files in the format of MedMNIST."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morefromless.errors import DataError
from morefromless.sources.medmnist import Medmnist

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 28, 28, 3), dtype=np.uint8)
LABELS = np.arange(12) % 11


def write_npz(path: Path, **arrays: Any) -> Medmnist:
    np.savez(path, **arrays)
    return Medmnist(str(path))


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("shape", [(12,), (12, 1)])
def test_any_single_split_is_read(tmp_path: Path, split: str, shape: tuple[int, ...]) -> None:
    source = write_npz(
        tmp_path / "x.npz",
        **{f"{split}_images": IMAGES, f"{split}_labels": LABELS.reshape(shape).astype(np.uint8)},
    )
    items = source.items()
    assert [item.label for item in items] == [str(label) for label in LABELS]
    assert {item.split for item in items} == {split}
    np.testing.assert_array_equal(source.read(items[3])["he"], IMAGES[3])
    assert items[3].origin == f"x.npz:{split}_images[3]"
    assert list(source.datasheet().classes) == [str(i) for i in range(11)]  # 10 after 9


def test_grey_images_are_repeated_in_three_channels(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "x.npz", test_images=IMAGES[..., 0], test_labels=LABELS)
    np.testing.assert_array_equal(
        source.read(source.items()[5])["he"], np.stack([IMAGES[5, ..., 0]] * 3, axis=-1)
    )


def test_pathmnist_is_recognised_by_its_file_name(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "pathmnist.npz", test_images=IMAGES[:9], test_labels=np.arange(9))
    names = ["ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM"]
    assert [item.label for item in source.items()] == names
    assert list(source.datasheet().classes) == names
    assert source.datasheet().um_per_px == 4.0  # 224 px at 0.5 um/px are 112 um, in 28 px
    invalid = write_npz(
        tmp_path / "pathmnist2.npz", test_images=IMAGES[:1], test_labels=np.array([9])
    )
    with pytest.raises(DataError, match="label 9"):
        invalid.items()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES, "labels": LABELS}, "holds images, labels; it needs SPLIT_images"),
        ({"test_images": IMAGES}, "holds test_images; it needs"),
        ({}, "holds no arrays"),
        ({"test_images": IMAGES / 255, "test_labels": LABELS}, "float64 should be uint8"),
        ({"test_images": IMAGES[..., :2], "test_labels": LABELS}, "should be uint8"),
        ({"test_images": IMAGES, "test_labels": LABELS[:5]}, "one integer per image"),
        ({"test_images": IMAGES, "test_labels": np.ones((12, 3), int)}, "several labels"),
        ({"test_images": IMAGES, "test_labels": np.array([{}] * 12)}, "plain arrays"),
    ],
)
def test_invalid_contents_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_npz(tmp_path / "x.npz", **arrays).items()


def test_invalid_npz_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(DataError, match="no file"):
        Medmnist(str(path)).items()
    complete = tmp_path / "whole.npz"
    np.savez_compressed(complete, test_images=IMAGES, test_labels=LABELS)
    for data in (b"", b"text", complete.read_bytes()[:5000], b"PK\x03\x04" + bytes(100)):
        path.write_bytes(data)
        with pytest.raises(DataError, match="download it again"):
            Medmnist(str(path)).items()
