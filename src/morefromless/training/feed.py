"""Data loading: which training data stay on the device, and how the rest is read."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from morefromless.data.sharded import reading_order
from morefromless.data.store import Store
from morefromless.modalities import Modality
from morefromless.pairs import Pair
from morefromless.progress import Bar
from morefromless.training.steps import Steps

Batch = dict[str, Tensor]
Residency = Literal["inputs", "arrays", "nothing"]
"""Which training data stay on the device: the branches' inputs, the stored arrays that they are
rendered from, or neither."""
PATCHES_PER_READ = 256
"""Number of patches per read when resident data are loaded."""


def choose_residency(
    store: Store, pair: Pair, patches: int, device: torch.device, memory: float
) -> tuple[Residency, int]:
    """Which data of this many patches stay on a device, in at most `memory` bytes, and their bytes.

    Inputs need no rendering in each step. Stored arrays have 8 or 16 bits, so more patches fit.
    They stay only on GPUs, because a CPU reads them from the store just as fast.
    """
    inputs = patches * pair.input_bytes
    if inputs <= memory:
        return "inputs", inputs
    stored = [store.array(name) for name in pair.arrays]
    arrays = patches * sum(math.prod(a.shape[1:]) * a.dtype.itemsize for a in stored)
    if device.type != "cpu" and arrays <= memory:
        return "arrays", arrays
    return "nothing", 0


class Feed(Dataset[Batch]):
    """The branches' inputs of the training patches, batch by batch.

    Rendering is deterministic (views are drawn later). Therefore the inputs, or the stored arrays
    that they are rendered from, can stay on the device (`residency`, from `choose_residency`). If
    neither stays, arrays are read batch by batch, optionally by worker processes. The images are
    the same in all cases.

    `frozen` maps a branch to the features of its frozen encoder, (N, width). Such a branch needs no
    images and no views, and is not in the pair. `availability` maps a branch to (N,) bool: which of
    these patches have its view. A branch that is not in `availability` has all views.
    """

    def __init__(
        self,
        store: Store,
        indices: npt.NDArray[np.int64],
        pair: Pair,
        device: torch.device,
        residency: Residency = "inputs",
        frozen: Mapping[str, Tensor] | None = None,
        availability: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    ) -> None:
        self.store, self.indices, self.pair, self.residency = store, indices, pair, residency
        self.availability = {
            name: torch.from_numpy(has) for name, has in (availability or {}).items()
        }
        self.frozen = {name: features.to(device) for name, features in (frozen or {}).items()}
        self.labels = torch.from_numpy(store.labels[indices])
        self.resident: dict[str, Tensor] = {}
        """Inputs by branch, or stored arrays by name."""
        if residency == "inputs":
            rendered = {key: self._load_input(*key, device) for key in set(pair.inputs.values())}
            self.resident = {name: rendered[key] for name, key in pair.inputs.items()}
        elif residency == "arrays":
            self.resident = {name: self._load_array(name, device) for name in pair.arrays}

    def __len__(self) -> int:
        return len(self.indices)

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        index = torch.as_tensor(positions)
        batch = {"position": index, "label": self.labels[index]}
        if self.residency == "nothing":
            rows = self.indices[np.asarray(positions)]
            batch |= {name: self._read(name, rows) for name in self.pair.arrays}
        return batch

    def images(self, batch: Batch) -> dict[str, Tensor]:
        """Inputs by branch of a batch that is already on the device, on the same device."""
        if self.residency == "nothing":
            return self.pair.render(batch)
        position = batch["position"]
        if self.residency == "inputs":
            return {
                name: images[position.to(images.device)].to(position.device)
                for name, images in self.resident.items()
            }
        stored = {  # as bytes, because PyTorch has few operations for uint16
            name: array.view(torch.uint8)[position].view(array.dtype)
            for name, array in self.resident.items()
        }
        return self.pair.render(stored)

    def representations(self, batch: Batch) -> dict[str, Tensor]:
        """Features of a batch's patches by frozen encoder."""
        return {
            name: features[batch["position"].to(features.device)]
            for name, features in self.frozen.items()
        }

    def available_views(self, batch: Batch) -> dict[str, Tensor]:
        """Which patches of a batch have the view, (B,) bool, for each branch with missing views."""
        return {name: mask[batch["position"].cpu()] for name, mask in self.availability.items()}

    def _load_input(self, modality: Modality, size: int, device: torch.device) -> Tensor:
        """A branch's input of all patches."""
        images = torch.empty(len(self), *modality.shape(size), device=device)
        for part, patches in self._parts(modality.array):
            images[part] = modality.render(patches.to(device), size)
        return images

    def _load_array(self, name: str, device: torch.device) -> Tensor:
        """A stored array of all patches."""
        array = self.store.array(name)
        dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
        copy = torch.empty(len(self), *array.shape[1:], dtype=dtype, device=device)
        for part, patches in self._parts(name):
            copy.view(torch.uint8)[part] = patches.view(torch.uint8).to(device)
        return copy

    def _parts(self, name: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Read a stored array in parts: positions, and the array at these positions."""
        order = reading_order(self.store.array(name), self.indices)
        parts = np.array_split(order, max(1, len(order) // PATCHES_PER_READ))
        for part in Bar(parts, desc=f"read {name}", unit="part"):
            yield torch.from_numpy(part), self._read(name, self.indices[part])

    def _read(self, name: str, rows: npt.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(np.asarray(self.store.array(name)[rows]))

    def loader(self, steps: Steps, workers: int, pin: bool) -> DataLoader[Batch]:
        """Batches in the order of `steps`; shards of later steps are fetched in the background."""
        from_store = self.residency == "nothing"
        if from_store and self.store.shards is not None:
            steps.prefetch_callback = self._prefetch
        return DataLoader(
            self,
            batch_sampler=steps,
            collate_fn=_identity,  # type: ignore[arg-type]  # __getitems__ returns a batch already
            num_workers=workers if from_store else 0,
            pin_memory=pin and from_store,
        )

    def _prefetch(self, positions: npt.NDArray[np.int64]) -> None:
        shards = self.store.shards
        assert shards is not None
        shards.prefetch(np.unique(shards.shard_numbers[self.indices[positions]]))


def _identity(batch: Batch) -> Batch:
    return batch
