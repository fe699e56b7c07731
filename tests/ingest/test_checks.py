"""Ingest reports near duplicates and shifted pairs, and reports nothing if there are none."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from morefromless.ingest import ingest
from tests.data.test_near_duplicates import as_jpeg, tissue


def write(images: npt.NDArray[np.uint8], folder: Path) -> list[str]:
    folder.mkdir(parents=True)
    names = [f"{folder}/{number}.png" for number in range(len(images))]
    for image, name in zip(images, names, strict=True):
        Image.fromarray(image).save(name)
    return names


def test_near_duplicates_across_splits_are_listed(tmp_path: Path) -> None:
    images = tissue(24)
    copies = np.stack([as_jpeg(np.ascontiguousarray(image[::-1])) for image in images[:3]])
    write(images[:10], tmp_path / "in/train/A")
    write(images[10:20], tmp_path / "in/train/B")
    write(images[20:22], tmp_path / "in/test/A")
    write(np.concatenate([images[22:], copies]), tmp_path / "in/test/B")
    write(as_jpeg(images[12])[None], tmp_path / "in/val/B")
    store = ingest(str(tmp_path / "in"), tmp_path / "store", progress=False).store
    [caveat] = [c for c in store.caveats if "look like" in c]
    assert caveat.startswith("4 patches of test and val look like a patch of train (3 of them")
    near_duplicates = pd.read_csv(store.path / "near_duplicates.csv")
    assert dict(zip(near_duplicates["id"], near_duplicates["train_id"], strict=True)) == {
        **{f"test/B/{n + 2}.png": f"train/A/{n}.png" for n in range(3)},
        "val/B/0.png": "train/B/2.png",
    }
    assert near_duplicates["correlation"].min() > 0.95


def test_unlabelled_near_duplicate_is_not_a_label_conflict(tmp_path: Path) -> None:
    images = tissue(12)
    write(images[:3], tmp_path / "in/train/unlabelled")
    for number, label in enumerate("AB"):
        write(images[4 + number :][:1], tmp_path / "in/train" / label)
        write(as_jpeg(images[number])[None], tmp_path / "in/test" / label)
    store = ingest(str(tmp_path / "in"), tmp_path / "store", progress=False).store
    [caveat] = [c for c in store.caveats if "look like" in c]
    assert caveat.startswith("2 patches of test look like a patch of train (0 of them with a di")


def write_pairs(folder: Path, shift: int) -> Path:
    """Pairs of two patients; the IHC of the second one is shifted to the right."""
    fields = tissue(24, side=120, size=1.5)
    he = write(fields[:, :96, 16:112], folder / "he")
    corners = np.where(np.arange(24) % 2, 16 - shift, 16)
    ihc = 255 - np.stack([f[:96, x : x + 96] for f, x in zip(fields, corners, strict=True)])
    pairs = {
        "id": range(24),
        "he": he,
        "ihc": write(ihc, folder / "ihc"),
        "label": ["AB"[n // 2 % 2] for n in range(24)],
        "group": [f"P{n % 2}" for n in range(24)],
        "split": ["test" if n < 8 else "train" for n in range(24)],
    }
    pd.DataFrame(pairs).to_csv(folder / "pairs.csv", index=False)
    return folder / "pairs.csv"


def test_shifted_pairs_are_measured_by_group(tmp_path: Path) -> None:
    store = ingest(str(write_pairs(tmp_path / "a", 7)), tmp_path / "store", progress=False).store
    [caveat] = [c for c in store.caveats if "shifted" in c]
    assert "by 7 px in group P1 (shifts.csv); register" in caveat
    shifts = pd.read_csv(store.path / "shifts.csv").set_index("group")
    assert shifts.loc["P0", ["x", "y", "distance", "clear"]].tolist() == [0, 0, 0, 12]
    assert shifts.loc["P1", ["x", "y", "distance", "clear"]].tolist() == [7, 0, 7, 12]
    registered = ingest(
        str(write_pairs(tmp_path / "b", 0)), tmp_path / "other", progress=False
    ).store
    assert not [c for c in registered.caveats if "shifted" in c]
