"""Learning curves: accuracy of a cheap probe on the encoder during training.

Asymmetric training converges more slowly than symmetric training and may overtake it late. A
comparison after too few steps is therefore meaningless. These curves show whether the accuracy of
an arm was still rising.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor

from morefromless import files
from morefromless.data.store import Store
from morefromless.evaluation.frozen import FrozenEncoder, represent
from morefromless.probes.ridge import fit_ridge_probe

MAX_PATCHES = 2000
"""Maximum number of training patches, and of test patches, per point."""

MAX_CACHED_BYTES = 2**28
"""Maximum bytes of a branch's inputs that are kept in memory between points."""


class Curve(pl.Callback):
    """Accuracy of a ridge probe on each branch's own modality every `every` steps, if test patches
    have that modality.

    Written to `path` (step, branch, accuracy) after each point. The test accuracy is only
    reported: nothing is selected by it.
    """

    def __init__(
        self,
        encoders: Mapping[str, FrozenEncoder],
        store: Store,
        path: Path,
        every: int,
        total: int,
    ) -> None:
        self.encoders, self.store, self.path = dict(encoders), store, path
        self.every, self.total = every, total
        subsets = {name: store.select(e.modality) for name, e in self.encoders.items()}
        self.rows = {
            name: tuple(_sample(subset.indices(split)) for split in ("train", "test"))
            for name, subset in subsets.items()
            if subset.has_test_patches and subset.can_train_probe
        }
        self.points: list[dict[str, Any]] = []
        self.images: dict[tuple[str, int], list[Tensor]] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.path.is_file():
            earlier = pd.read_csv(self.path)
            kept = earlier[earlier["step"] <= trainer.global_step]  # later steps are trained again
            self.points = kept.to_dict("records")  # type: ignore[assignment]
        if not self.points:
            self._measure(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any, **__: Any
    ) -> None:
        if trainer.global_step % self.every == 0 or trainer.global_step == self.total:
            self._measure(trainer, pl_module)

    def _measure(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        labels = torch.from_numpy(self.store.labels)
        for name, rows in self.rows.items():
            encoder = self.encoders[name].encoder
            train, test = (
                represent(encoder, self._images(name, split, pl_module.device), pl_module.device)
                for split in (0, 1)
            )
            probe = fit_ridge_probe(train, labels[rows[0]], len(self.store.classes))
            correct = probe.logits(test).argmax(1) == labels[rows[1]]
            self.points.append(
                {
                    "step": trainer.global_step,
                    "branch": name,
                    "accuracy": round(float(correct.float().mean()), 5),
                }
            )
        files.write_csv(self.path, pd.DataFrame(self.points))

    def _images(self, name: str, split: int, device: torch.device) -> Iterable[Tensor]:
        """A branch's inputs of a split's patches; rendered once if within `MAX_CACHED_BYTES`."""
        encoder, rows = self.encoders[name], self.rows[name][split]
        if len(rows) * math.prod(encoder.modality.shape(encoder.size)) * 4 > MAX_CACHED_BYTES:
            return encoder.batches(self.store, rows, device)
        if (name, split) not in self.images:
            self.images[name, split] = list(encoder.batches(self.store, rows, device))
        return self.images[name, split]


def _sample(indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """A fixed random sample, the same for every arm and seed."""
    if len(indices) <= MAX_PATCHES:
        return indices
    return np.sort(np.random.default_rng(0).choice(indices, MAX_PATCHES, replace=False))
