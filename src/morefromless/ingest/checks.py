"""Checks of a store's images after writing: leaks between splits, and registration."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless import files
from morefromless.data.arrays import open_npy
from morefromless.data.labels import UNLABELLED
from morefromless.data.near_duplicates import near_duplicates_across_splits
from morefromless.data.nuclei import NUCLEI_ARRAY
from morefromless.data.registration import estimate_shifts
from morefromless.data.store import main_image
from morefromless.ingest.shapes import Shape
from morefromless.progress import Bar

NEAR_FILE, SHIFTS_FILE, PRESENT_FILE = "near_duplicates.csv", "shifts.csv", "present.parquet"
MAX_SAMPLE = 2048
"""Maximum number of patches whose shift is measured."""
MIN_SHIFT = 2
"""Smallest median shift in px that gives a caveat."""
MIN_CLEAR_PATCHES = 5
"""Minimum number of patches with a clear shift for the median of a group to count."""


def check_images(
    folder: Path,
    table: pd.DataFrame,
    small: npt.NDArray[np.float32],
    shape: Shape,
    other_fields: Sequence[str],
) -> list[str]:
    """Check the images in `folder` and return the caveats.

    Patches are the rows of `table` and of `small`, the thumbnails (N, 32, 32) of the main images.
    `near_duplicates.csv` lists patches of test and val that look like a patch of train.
    `shifts.csv` lists the shift of paired images in px, by group. Empty files are not written.
    `other_fields` are arrays that show a different field from the main image.
    """
    main = main_image(shape.images)
    paired = [
        name
        for name, image in shape.images.items()
        if name not in (main, NUCLEI_ARRAY, *other_fields) and image.side == shape.side
    ]
    return [
        *_near_duplicates(folder, table, small),
        *_shifts(folder, table, main, sorted(paired)),
    ]


def _near_duplicates(
    folder: Path, table: pd.DataFrame, small: npt.NDArray[np.float32]
) -> Iterator[str]:
    pairs = near_duplicates_across_splits(small, table)
    if not len(pairs):
        return
    files.write_csv(folder / NEAR_FILE, pairs)
    named = (pairs[["label", "train_label"]] != UNLABELLED).all(axis=1)
    other = int((named & (pairs["label"] != pairs["train_label"])).sum())
    yield (
        f"{len(pairs):,} patches of {' and '.join(sorted(pairs['split'].unique()))} look like a "
        f"patch of train ({other:,} of them with a different label; {NEAR_FILE} lists them), so "
        "the accuracy may be too high; check them, and split by group or exclude them."
    )


def _shifts(folder: Path, table: pd.DataFrame, main: str, paired: Sequence[str]) -> Iterator[str]:
    rows = []
    for name in paired:
        measured = _measure_shifts(folder, table, main, name)
        whole, *groups = (
            {"array": name, "group": group, **_summary(part)}
            for group, part in [("all", measured), *measured.groupby("group")]
        )
        rows += [whole, *groups]
        clear = [row for row in (whole, *groups) if row["clear"] >= MIN_CLEAR_PATCHES]
        worst = max(clear, key=lambda row: row["distance"], default=whole)
        if clear and worst["distance"] >= MIN_SHIFT:
            yield (
                f"{name} is shifted relative to {main} by {whole['distance']:g} px (median of "
                f"{whole['clear']:,} patches), and by {worst['distance']:g} px in group "
                f"{worst['group']} ({SHIFTS_FILE}); register the images before ingest."
            )
    if rows:
        files.write_csv(folder / SHIFTS_FILE, pd.DataFrame(rows))


def _measure_shifts(folder: Path, table: pd.DataFrame, main: str, name: str) -> pd.DataFrame:
    """Group, shift (x, y) and `clear`, for a sample of the patches that have both images."""
    images, others = (open_npy(folder / f"{n}.npy") for n in (main, name))
    rows = np.arange(len(table))
    if (folder / PRESENT_FILE).exists():
        present = pd.read_parquet(folder / PRESENT_FILE)
        both = [present[n] for n in (main, name) if n in present]
        rows = rows[np.all(both, axis=0)] if both else rows
    rows = rows[:: max(1, -(-len(rows) // MAX_SAMPLE))]
    parts = []
    with Bar(desc="registration", total=len(rows), unit=" patches", delay=2) as bar:
        for start in range(0, len(rows), 32):
            block = rows[start : start + 32]
            shift, clear = estimate_shifts(images[block], others[block])
            group = table["group"].iloc[block].fillna("not known").to_numpy()
            parts.append(
                pd.DataFrame({"group": group, "x": shift[:, 0], "y": shift[:, 1], "clear": clear})
            )
            bar.update(len(block))
    return pd.concat(parts, ignore_index=True)


def _summary(measured: pd.DataFrame) -> dict[str, float]:
    clear = measured[measured["clear"]]
    distance = pd.Series(np.hypot(clear["x"], clear["y"]))
    return {
        "patches": len(measured),
        "clear": len(clear),
        "x": clear["x"].median(),
        "y": clear["y"].median(),
        "distance": round(float(distance.median()), 2),
        "distance_95": round(float(distance.quantile(0.95)), 2),
    }
