"""PanNuke's folds, as published and in one folder."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morefromless.data.nuclei import Nuclei
from morefromless.errors import ConfigError, DataError, UnreadablePatch
from morefromless.sources.pannuke import Pannuke

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (4, 8, 6, 3)).astype(np.float64)
TISSUES = np.array(["Breast", "Bile-duct", "Breast", "Colon"])
MASKS = np.zeros((4, 8, 6, 6))
for row in range(3):  # the last patch has no nuclei
    for channel in range(5):
        MASKS[row, channel, :2, channel] = 1  # the same id in every channel
        MASKS[row, channel, 2:4, channel] = 2 + row


def fold(folder: Path, where_masks: Path | None = None, **replaced: Any) -> None:
    arrays = {"images": IMAGES, "masks": MASKS, "types": TISSUES, **replaced}
    for name, array in arrays.items():
        target = where_masks or folder if name == "masks" else folder
        target.mkdir(parents=True, exist_ok=True)
        np.save(target / f"{name}.npy", array)


def published(root: Path, folds: int = 3) -> None:
    for k in range(1, folds + 1):
        top = root / f"Fold {k}"
        fold(top / "images" / f"fold{k}", top / "masks" / f"fold{k}", images=(IMAGES + k) % 256)


def test_published_folds_are_read(tmp_path: Path) -> None:
    published(tmp_path)
    source = Pannuke(str(tmp_path))
    items = source.items()
    assert [item.split for item in items] == ["train"] * 8 + ["test"] * 4
    assert [item.label for item in items[4:8]] == TISSUES.tolist()
    assert (items[5].id, items[5].origin, items[5].group) == (
        "Fold 2/images/fold2/1",
        "Fold 2/images/fold2/images.npy[1]",
        None,
    )
    with ThreadPoolExecutor(4) as pool:
        arrays = list(pool.map(source.read, items))
    for index, patch in enumerate(arrays):
        row = index % 4
        np.testing.assert_array_equal(patch["he"], (IMAGES[row] + 1 + index // 4) % 256)
        assert patch["he"].dtype == np.uint8
        nuclei = Nuclei.decode(patch["nuclei"])
        assert nuclei.types.tolist() == ([] if row == 3 else [1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
        np.testing.assert_array_equal(nuclei.instances > 0, (MASKS[row] > 0).any(-1))
    assert source.shape(items[0]) == (8, 6)
    sheet = source.datasheet()
    assert (sheet.um_per_px, sheet.scheme and sheet.scheme.name) == (0.25, "pannuke")


def test_test_option_chooses_the_test_fold(tmp_path: Path) -> None:
    published(tmp_path, folds=2)
    test_ids = [item.id for item in Pannuke(str(tmp_path), test=1).items() if item.split == "test"]
    assert test_ids == [f"Fold 1/images/fold1/{row}" for row in range(4)]
    with pytest.raises(
        ConfigError, match="pannuke:test=3 is not one of the folds found; use 1 to 2"
    ):
        Pannuke(str(tmp_path), test=3).items()


def test_a_single_fold_is_not_split(tmp_path: Path) -> None:
    fold(tmp_path, images=IMAGES.astype(np.uint8))
    source = Pannuke(str(tmp_path))
    assert [(item.id, item.split) for item in source.items()] == [(str(k), None) for k in range(4)]
    np.testing.assert_array_equal(source.read(source.items()[2])["he"], IMAGES[2])


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ({"images": IMAGES + 0.5}, "colours out of range: not all are whole numbers from"),
        ({"images": IMAGES + 200}, "colours out of range: "),
        ({"images": IMAGES - 300}, "colours out of range: "),
        ({"images": IMAGES * np.nan}, "colours out of range: "),
        ({"masks": MASKS / 3}, "float mask: the mask holds fractions; "),
        ({"masks": MASKS * [1, 1, 1, -1, 1, 1]}, "negative instance: the mask holds -2; "),
        ({"masks": MASKS + np.eye(6)[0]}, "overlapping nuclei: id 1 of Inflammatory keeps 0"),
    ],
)
def test_unusable_patches_are_refused(tmp_path: Path, held: dict, reason: str) -> None:
    fold(tmp_path, **held)
    source = Pannuke(str(tmp_path))
    with pytest.raises(UnreadablePatch, match=reason):
        source.read(source.items()[0])


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ({"types": TISSUES.astype(object)}, "types.npy holds Python objects, which are not read"),
        ({"types": TISSUES[:3]}, r"types \(3,\) <U9; they should be"),
        ({"types": np.arange(4)}, r"types \(4,\) int64; they should be"),
        ({"masks": MASKS[..., :5]}, r"masks \(4, 8, 6, 5\)"),
        ({"masks": MASKS[:, :4]}, r"masks \(4, 4, 6, 6\)"),
        ({"images": IMAGES[..., 0]}, r"images \(4, 8, 6\)"),
    ],
)
def test_invalid_folds_are_refused(tmp_path: Path, held: dict, reason: str) -> None:
    fold(tmp_path, **held)
    with pytest.raises(DataError, match=reason):
        Pannuke(str(tmp_path)).items()


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no images.npy; check the path"):
        Pannuke(str(tmp_path)).items()
    fold(tmp_path)
    (tmp_path / "masks.npy").unlink()
    with pytest.raises(DataError, match=r"There is no file .*masks.npy; check the path"):
        Pannuke(str(tmp_path)).items()


def test_suggested_fix_repairs_object_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "types.npy", TISSUES.astype(object))
    repaired = np.array(np.load(tmp_path / "types.npy", allow_pickle=True).tolist())
    fold(tmp_path, types=repaired)
    assert Pannuke(str(tmp_path)).items()[1].label == "Bile-duct"
