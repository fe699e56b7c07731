"""Compute features of patches in batches; an interrupted call can be resumed."""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from morefromless.errors import UnreadablePatch, none_usable
from morefromless.evaluation.cache import cached, digest_text
from morefromless.evaluation.frozen import BATCH_SIZE, FrozenEncoder, represent
from morefromless.inference.patches import Patches
from morefromless.ingest.listing import files_fingerprint
from morefromless.progress import Bar
from morefromless.torch_state import preserved_torch_state

PATCHES_PER_PART = 8 * BATCH_SIZE
"""Patches per saved part; an interrupted embedding resumes after the last saved part."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """Features of patches, with the table that describes the patches."""

    table: pd.DataFrame
    """One row per patch, with the columns `patches.COLUMNS`."""
    features: npt.NDArray[np.float32]
    """(N, width); row i belongs to row i of `table`."""
    rejected: Counter[str]
    """Number of unreadable patches for each reason. They have no row in `table`."""
    attributes: dict[str, str | float]
    """Encoder, modality and further metadata for the file of features."""

    def __repr__(self) -> str:
        patches, width = self.features.shape
        return f"Embedding({patches} patches x {width} features)"


@preserved_torch_state()
def embed(
    frozen: FrozenEncoder,
    inputs: Sequence[Patches],
    device: torch.device | str = "cpu",
    *,
    partial: Path | str | None = None,
    progress: bool = True,
) -> Embedding:
    """Compute the encoder's features of all readable patches on the PyTorch device `device`.

    Finished parts are saved in the folder `partial`, and a second call with the same arguments
    resumes from them. Parts are recomputed if the encoder, the inputs or their files have changed.
    Raises `DataError` if no patch can be read.
    """
    count = sum(map(len, inputs))
    parts, rejected = [], Counter[str]()
    with (
        Bar(total=count, desc="embed", unit="patch", disable=not progress) as bar,
        ThreadPoolExecutor() as readers,
    ):
        for patches in inputs:
            key = {
                "weights": frozen.fingerprint,
                "modality": frozen.modality_spec,
                "size": str(frozen.size),
                "um_per_px": str(patches.um_per_px),
                "place": patches.absolute_path,
                "patches": digest_text(*patches.table["id"]),
            }
            if partial is not None:
                key["files"] = files_fingerprint(patches.files())
            for start in range(0, len(patches), PATCHES_PER_PART):
                rows = range(start, min(start + PATCHES_PER_PART, len(patches)))

                def compute(patches: Patches = patches, rows: range = rows) -> dict[str, Tensor]:
                    return _features(frozen, patches, rows, device, readers)

                if partial is None:
                    part = compute()
                else:
                    name = digest_text(patches.absolute_path, patches.name)
                    file = Path(partial) / f"{name}-{start:09d}.safetensors"
                    part = cached(file, {**key, "start": str(start)}, compute)
                readable = part["readable"].numpy()
                for row in np.array(rows)[~readable].tolist():
                    rejected[_reason(patches, row)] += 1
                parts.append((patches.table.iloc[start : rows.stop][readable], part["features"]))
                bar.update(len(rows))
    if not sum(len(table) for table, _ in parts):
        reason, number = rejected.most_common(1)[0] if rejected else ("there is none", 0)
        raise none_usable(count, reason, number)
    return Embedding(
        pd.concat([table for table, _ in parts], ignore_index=True),
        torch.cat([features for _, features in parts]).numpy(),
        rejected,
        _attributes(frozen, inputs),
    )


@contextmanager
def partial_folder(path: Path) -> Iterator[Path]:
    """Yield the folder `PATH.partial`; remove it if the block succeeds, else keep it."""
    folder = path.with_name(f"{path.name}.partial")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _features(
    frozen: FrozenEncoder,
    patches: Patches,
    rows: Sequence[int],
    device: torch.device | str,
    readers: ThreadPoolExecutor,
) -> dict[str, Tensor]:
    """`readable` (len(rows),) and `features` (readable patches, width), in the order of `rows`."""
    features, readable = [], []
    for start in range(0, len(rows), BATCH_SIZE):
        results = list(
            readers.map(lambda row: _read(patches, row), rows[start : start + BATCH_SIZE])
        )
        arrays = [array for array in results if array is not None]
        readable += [array is not None for array in results]
        if arrays:
            features.append(represent(frozen.encoder, _same_size(frozen, arrays, device), device))
    width = frozen.encoder.width
    return {
        "readable": torch.tensor(readable),
        "features": torch.cat(features) if features else torch.empty(0, width, dtype=torch.float32),
    }


def _same_size(
    frozen: FrozenEncoder, arrays: Sequence[npt.NDArray[Any]], device: torch.device | str
) -> Iterator[Tensor]:
    """Yield encoder inputs in order; consecutive arrays of the same shape form one batch."""
    start = 0
    for stop in range(1, len(arrays) + 1):
        if stop == len(arrays) or arrays[stop].shape != arrays[start].shape:
            stacked = torch.from_numpy(np.stack(arrays[start:stop]))
            yield frozen.inputs(stacked.to(device))
            start = stop


def _read(patches: Patches, row: int) -> npt.NDArray[Any] | None:
    with suppress(UnreadablePatch):
        return patches.read(row)
    return None


def _reason(patches: Patches, row: int) -> str:
    """Why a patch is unreadable. The patch is read again, because saved parts have no reasons."""
    try:
        patches.read(row)
    except UnreadablePatch as error:
        return str(error)
    return "changed: it could not be read before; run the command again"


def _attributes(frozen: FrozenEncoder, inputs: Sequence[Patches]) -> dict[str, str | float]:
    sides = {patches.side for patches in inputs}
    scales = {patches.um_per_px for patches in inputs}
    attributes: dict[str, str | float | None] = {
        "encoder": frozen.title,
        "weights": frozen.fingerprint,
        "modality": frozen.modality_spec,
        "patch_size": sides.pop() if len(sides) == 1 else None,
        "um_per_px": scales.pop() if len(scales) == 1 else None,
    }
    level0_sides = {patches.side_level0 for patches in inputs if hasattr(patches, "side_level0")}
    if len(level0_sides) == 1:
        attributes["patch_size_level0"] = level0_sides.pop()
    return {name: value for name, value in attributes.items() if value is not None}
