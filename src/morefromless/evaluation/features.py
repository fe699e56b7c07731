"""Features: representations of a frozen encoder, computed once and kept on disk."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from morefromless.data import atomic
from morefromless.data.store import Store
from morefromless.encoders import Encoder
from morefromless.modalities import Modality
from morefromless.pairs import laid_out

CHUNK = 256
"""Patches per forward pass; features do not depend on it, since BatchNorm is frozen."""


def extract(
    encoder: Encoder,
    store: Store,
    indices: npt.NDArray[np.int64],
    modality: Modality,
    size: int,
    *,
    device: torch.device | str = "cpu",
    label: str | None = None,
) -> Tensor:
    """Representations (N, encoder.width) float32 on the CPU of the patches at `indices`.

    `label` names a progress bar; none is drawn without.
    """
    seen = see(store, indices, modality, size, device)
    total = -(-len(indices) // CHUNK)
    bar = tqdm(seen, total=total, desc=label, unit="batch", disable=label is None, leave=False)
    return represent(encoder, bar, device)


def see(
    store: Store,
    indices: npt.NDArray[np.int64],
    modality: Modality,
    size: int,
    device: torch.device | str = "cpu",
) -> Iterator[Tensor]:
    """What a branch sees of the patches at `indices`, a few at a time, without augmentation."""
    stored = store.array(modality.array)
    for start in range(0, len(indices), CHUNK):
        rows = indices[start : start + CHUNK]
        batch = torch.from_numpy(np.asarray(stored[rows])).to(device)
        yield laid_out(modality.render(batch, size))


@torch.no_grad()
def represent(encoder: Encoder, images: Iterable[Tensor], device: torch.device | str) -> Tensor:
    """Representations of batches of images, in evaluation mode; the mode is then as it was."""
    training = encoder.training
    encoder.eval().to(device)
    made = [encoder(batch).float().cpu() for batch in images]
    encoder.train(training)
    return torch.cat(made)


def kept(path: Path, make: Callable[[], Tensor]) -> Tensor:
    """Features from `path` where an earlier call left them whole, else made and left there."""
    if path.is_file():
        try:
            return torch.from_numpy(np.load(path, allow_pickle=False))
        except (ValueError, EOFError):
            pass  # damaged
    features = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, features.numpy())
    return features
