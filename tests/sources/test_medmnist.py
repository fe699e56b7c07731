"""Npz files in the manner of MedMNIST."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morefromless.errors import DataError
from morefromless.sources.medmnist import Medmnist

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 28, 28, 3), dtype=np.uint8)
LABELS = np.arange(12) % 11


def source(path: Path, **arrays: Any) -> Medmnist:
    np.savez(path, **arrays)
    return Medmnist(str(path))


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("shape", [(12,), (12, 1)])
def test_whichever_split_there_is(tmp_path: Path, split: str, shape: tuple[int, ...]) -> None:
    made = source(
        tmp_path / "x.npz",
        **{f"{split}_images": IMAGES, f"{split}_labels": LABELS.reshape(shape).astype(np.uint8)},
    )
    items = made.items()
    assert [item.label for item in items] == [str(label) for label in LABELS]
    assert {item.split for item in items} == {split}
    np.testing.assert_array_equal(made.read(items[3])["he"], IMAGES[3])
    assert items[3].origin == f"x.npz:{split}_images[3]"
    assert list(made.datasheet().classes) == [str(i) for i in range(11)]  # 10 after 9


def test_grey_is_repeated_in_three_channels(tmp_path: Path) -> None:
    made = source(tmp_path / "x.npz", test_images=IMAGES[..., 0], test_labels=LABELS)
    np.testing.assert_array_equal(
        made.read(made.items()[5])["he"], np.stack([IMAGES[5, ..., 0]] * 3, axis=-1)
    )


def test_pathmnist_is_known_by_name(tmp_path: Path) -> None:
    made = source(tmp_path / "pathmnist.npz", test_images=IMAGES[:9], test_labels=np.arange(9))
    names = ["ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM"]
    assert [item.label for item in made.items()] == names
    assert list(made.datasheet().classes) == names
    assert made.datasheet().um_per_px == 4.0  # 224 px at 0.5 um/px are 112 um, in 28 px
    wrong = source(tmp_path / "pathmnist2.npz", test_images=IMAGES[:1], test_labels=np.array([9]))
    with pytest.raises(DataError, match="label 9"):
        wrong.items()


@pytest.mark.parametrize(
    ("arrays", "words"),
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
def test_other_contents(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        source(tmp_path / "x.npz", **arrays).items()


def test_not_an_npz_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(DataError, match="no file"):
        Medmnist(str(path)).items()
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, test_images=IMAGES, test_labels=LABELS)
    for data in (b"", b"text", whole.read_bytes()[:5000], b"PK\x03\x04" + bytes(100)):
        path.write_bytes(data)
        with pytest.raises(DataError, match="download it again"):
            Medmnist(str(path)).items()
