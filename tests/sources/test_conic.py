"""CoNIC's arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morefromless.data.nuclei import Nuclei
from morefromless.errors import DataError, UnreadablePatch
from morefromless.sources.conic import Conic

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 6, 4, 3), dtype=np.uint8)
LABELS = np.zeros((3, 6, 4, 2), np.uint16)
LABELS[:2, 1] = [7, 6]
LABELS[:2, 3, :2] = [3, 1]
NAMES = ["consep_1-0000", "consep_1-0001", "dpath-a_12-0000"]


def conic(root: Path, names: Any = NAMES, **arrays: Any) -> Conic:
    for name, array in {"images": IMAGES, "labels": LABELS, **arrays}.items():
        np.save(root / f"{name}.npy", array)
    (root / "patch_info.csv").write_text("\n".join(["patch_info", *names]), encoding="utf-8")
    return Conic(str(root))


def test_patches_of_an_image_share_a_group(tmp_path: Path) -> None:
    source = conic(tmp_path)
    items = source.items()
    assert [item.id for item in items] == NAMES
    assert [item.group for item in items] == ["consep_1", "consep_1", "dpath-a_12"]
    assert {(item.label, item.split) for item in items} == {("unlabelled", None)}
    assert "so images of one patient count as several groups" in source.remarks()[0]
    arrays = source.read(items[1])
    np.testing.assert_array_equal(arrays["he"], IMAGES[1])
    nuclei = Nuclei.decode(arrays["nuclei"])
    assert (nuclei.types.tolist(), nuclei.areas.tolist()) == ([1, 6], [2, 4])
    np.testing.assert_array_equal(nuclei.instances > 0, LABELS[1, ..., 0] > 0)
    assert not source.read(items[2])["nuclei"].any()
    assert (items[2].origin, source.shape(items[2])) == ("images.npy[2]", (6, 4))
    sheet = source.datasheet()
    assert (sheet.um_per_px, sheet.scheme and sheet.scheme.name) == (0.5, "conic")


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (LABELS * [1, 2], "type outside the scheme: '12' is not in conic"),
        (LABELS * [1, 0], "instance without a type: 3, 7; "),
        (LABELS * [0, 1], "type without an instance: 6 px "),
        (LABELS / 2, "float mask: the mask holds fractions; "),
    ],
)
def test_unusable_patches_are_refused(tmp_path: Path, labels: np.ndarray, reason: str) -> None:
    source = conic(tmp_path, labels=labels)
    with pytest.raises(UnreadablePatch, match=reason):
        source.read(source.items()[0])


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ({"images": IMAGES.astype(float)}, r"images \(3, 6, 4, 3\) float64"),
        ({"labels": LABELS[..., 0]}, r"labels \(3, 6, 4\) and 3 names"),
        ({"labels": LABELS[:2]}, r"labels \(2, 6, 4, 2\) and 3 names"),
        ({"names": NAMES[:2]}, "and 2 names"),
        ({"names": [*NAMES[:2], NAMES[0]]}, "two patches with the same name"),
    ],
)
def test_mismatched_arrays_are_refused(tmp_path: Path, held: dict, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        conic(tmp_path, **held).items()


def test_missing_files_are_refused(tmp_path: Path) -> None:
    source = conic(tmp_path)
    (tmp_path / "patch_info.csv").write_text("name\na\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"is not a table with a column patch_info"):
        source.items()
    for name in ("patch_info.csv", "labels.npy", "images.npy"):
        (tmp_path / name).unlink()
        with pytest.raises(DataError, match=f"There is no file .*{name}"):
            source.items()
