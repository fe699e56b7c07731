"""Frozen encoders: the encoder of a trained branch, with everything needed to use it.

Evaluation, learning curves, CKA, GradCAM, floors and inference all use this class.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from morefromless.branch_plans import Plan
from morefromless.config import Probe, RunConfig
from morefromless.data.sharded import reading_order
from morefromless.data.splits import Split
from morefromless.data.store import Store
from morefromless.encoders import (
    Encoder,
    build_encoder,
    normalise_encoder,
    without_weights,
)
from morefromless.errors import DataError
from morefromless.evaluation.cache import cached, digest, digest_text
from morefromless.evaluation.metadata import EncoderMetadata, Preprocessing, TrainingData
from morefromless.identity import file_name
from morefromless.modalities import Modality
from morefromless.pairs import build_modality, channels_last
from morefromless.probes import LinearProbe
from morefromless.progress import Bar
from morefromless.tasks import normalise_task
from morefromless.torch_state import preserved_torch_state, seed_generators

BATCH_SIZE = 256
"""Patches per forward pass; features do not depend on it, because BatchNorm is frozen."""


@dataclass(frozen=True, eq=False)
class FrozenEncoder:
    """A frozen encoder and its preprocessing."""

    encoder: Encoder
    modality_spec: str
    """Specification of the modality, such as `downsample:7`."""
    size: int
    """Input side in px."""
    name: str
    """Name of the run's branch (`primary`, `privileged`), `reference` or `random`."""
    folder: Path | None
    """Cache folder for features, probes and predictions: the run's folder. None caches nothing."""
    config: RunConfig | None = None
    """Options of its training; None for an encoder that was not trained here."""
    seed: int = 0
    """Seed of its initial weights."""
    head: LinearProbe | None = None
    """A supervised arm's own head, for the task `config.arm.task`."""
    metadata: EncoderMetadata | None = None
    """Metadata of its weights; None for an encoder that was not trained here."""
    shared_cache: Path | None = None
    """Feature cache that replaces `folder`, shared by all runs with the same frozen encoder."""

    def __repr__(self) -> str:
        """Input and output only, because the network's own repr is very long."""
        inputs = f"{self.modality_spec} at {self.size} px"
        return f"FrozenEncoder({self.title}: {inputs} -> {self.encoder.width} features)"

    @cached_property
    def modality(self) -> Modality:
        return build_modality(self.modality_spec)

    @property
    def fingerprint(self) -> str:
        """Hash of the current weights, a part of every cache key."""
        return digest(self.encoder.state_dict())

    @property
    def title(self) -> str:
        """Such as `asymmetric, independent, seed 0`, or `resnet18:pretrained=true`."""
        if self.config is not None:
            return ", ".join([*self.config.arm.words, f"seed {self.config.seed}"])
        return normalise_encoder(self.encoder.spec) if self.encoder.pretrained else "random encoder"

    @property
    def task(self) -> str:
        """Default task of its evaluation: its arm's task."""
        return self.config.arm.task if self.config else "tissue"

    @property
    def data(self) -> TrainingData | None:
        """The data that it was trained on; None if not known."""
        return self.metadata.data if self.metadata else None

    @property
    def um_per_px(self) -> float | None:
        """Pixel size of the patches that it was trained on; None if not known."""
        return self._preprocessing.um_per_px if self._preprocessing else None

    @property
    def side(self) -> int | None:
        """Side in px of the patches that it was trained on; None if not known."""
        return self._preprocessing.side if self._preprocessing else None

    @property
    def _preprocessing(self) -> Preprocessing | None:
        return self.metadata.branches[self.name].preprocessing if self.metadata else None

    @property
    def folder_name(self) -> str:
        """Name of the run's folder, or of the branch if there is no folder."""
        return self.name if self.folder is None else self.folder.name

    def render(
        self, store: Store, rows: npt.NDArray[np.int64], device: torch.device | str = "cpu"
    ) -> Tensor:
        """Prepare the patches at `rows` as input, without augmentation: (N, C, S, S).

        Raises `DataError` like `check_same_names`.
        """
        self.check_same_names(store.meta.arrays[self.modality.array].channels, store.path)
        stored = torch.from_numpy(np.asarray(store.array(self.modality.array)[rows]))
        return self.inputs(stored.to(device))

    def check_same_names(self, names: Sequence[str], where: object) -> None:
        """Call the function `check_same_names` with the names of the training data."""
        if self._preprocessing:
            check_same_names(self.modality.array, self._preprocessing.names, names, where)

    def inputs(self, patches: Tensor | npt.NDArray[Any]) -> Tensor:
        """Prepare stored patches as input: (N, H, H, 3) uint8 -> (N, C, S, S).

        Raises `DataError` for other forms of images, such as floats in [0, 1]. If the modality
        takes colour images, they must be 8-bit RGB.
        """
        if not isinstance(patches, Tensor):
            patches = torch.from_numpy(np.array(patches))  # a store's arrays are read-only
        colour, vector = self.modality.colour, self.modality.vector
        if not vector and (
            patches.ndim != 4
            or patches.is_floating_point()
            or (colour and (patches.shape[3] != 3 or patches.dtype != torch.uint8))
        ):
            raise DataError(
                f"Patches are {patches.dtype} of shape {tuple(patches.shape)}; give patches "
                "as stored, (N, side, side, 3) uint8."
            )
        return channels_last(self.modality.render(patches, self.size))

    def batches(
        self, store: Store, rows: npt.NDArray[np.int64], device: torch.device | str = "cpu"
    ) -> Iterator[Tensor]:
        """Yield `render` of `BATCH_SIZE` patches at a time."""
        for start in range(0, len(rows), BATCH_SIZE):
            yield self.render(store, rows[start : start + BATCH_SIZE], device)

    def represent(
        self,
        store: Store,
        rows: npt.NDArray[np.int64],
        device: torch.device | str = "cpu",
        label: str | None = None,
    ) -> Tensor:
        """Representations (N, encoder.width) float32 on the CPU; `label` titles a progress bar."""
        order = reading_order(store.array(self.modality.array), rows)
        images = Bar(
            self.batches(store, rows[order], device),
            total=-(-len(rows) // BATCH_SIZE),
            desc=label,
            unit="batch",
            disable=label is None,
        )
        return represent(self.encoder, images, device)[np.argsort(order)]

    def features(
        self,
        store: Store,
        split: Split,
        device: torch.device | str = "cpu",
        label: str | None = None,
    ) -> Tensor:
        """Representations of the patches of a split that have the modality, cached on disk."""
        rows = store.select(self.modality).indices(split)
        key = {"weights": self.fingerprint, "store": store.hash, "modality": self.modality_spec}
        # Stores of a study share a hash, but may exclude patches without another modality.
        key |= {"size": str(self.size), "patches": digest_text(*map(str, rows))}

        def compute() -> dict[str, Tensor]:
            return {"features": self.represent(store, rows, device, label)}

        if self.shared_cache is None:
            return self.cached(f"features/{self.name}-{split}", key, compute)["features"]
        name = f"{split}-{digest_text(*key.values())}"
        return cached(self.shared_cache / f"{name}.safetensors", key, compute)["features"]

    def cached(
        self, name: str, key: Mapping[str, str], compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Load the tensors of `key` from the folder if they are cached there; else compute them."""
        if self.folder is None:
            return compute()
        return cached(self.folder / f"{name}.safetensors", key, compute)

    def uses_own_head(self, task: str) -> bool:
        """Whether a task is evaluated with its own head instead of a probe."""
        if self.head is None or self.config is None:
            return False
        return normalise_task(task) == normalise_task(self.config.arm.task)

    def head_for(self, task: str, store: Store) -> LinearProbe | None:
        """Return its head if it was trained on this task, else None. `store` has the task's labels.

        Raises `DataError` if the store's classes are not those of the head.
        """
        if not self.uses_own_head(task):
            return None
        head_classes = self.metadata.head if self.metadata else store.classes
        if store.classes != head_classes:
            raise DataError(
                f"The head of {self.folder_name} was trained on the classes "
                f"{', '.join(head_classes)}, but {store.path} has {', '.join(store.classes)}; give "
                "the store that it was trained on."
            )
        return self.head

    def probe_file_stem(self, probe: Probe, task: str) -> str:
        """File name part for a branch, probe and task, such as `primary-linear-cell`."""
        classifier = "head" if self.uses_own_head(task) else probe.name
        return "-".join([self.name, classifier, *([] if task == "tissue" else [file_name(task)])])


def check_same_names(
    array: str, expected: Sequence[str], names: Sequence[str], where: object
) -> None:
    """Raise `DataError` if the names of channels, or of a vector's values, differ from those in
    training, or their order does. Nothing is checked if either list is not known."""
    if not expected or not names or tuple(expected) == tuple(names):
        return
    present = set(names)
    missing = [name for name in expected if name not in present]
    what = "has them in another order, or has more of them"
    if missing:
        what = f"does not have {len(missing):,} of them, such as {missing[0]}"
    raise DataError(
        f"'{array}' had {len(expected):,} named values in training, but {where} {what}; ingest it "
        "again with the same ones, in the same order."
    )


class Classifier(nn.Module):
    """A frozen encoder and a linear probe, or head, on its representations."""

    def __init__(self, encoder: nn.Module, probe: LinearProbe) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("weight", probe.weight)
        self.register_buffer("bias", probe.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, S, S) in [0, 1] -> logits (B, classes)."""
        return nn.functional.linear(
            self.encoder(images), self.get_buffer("weight"), self.get_buffer("bias")
        )


@torch.no_grad()
def represent(encoder: Encoder, images: Iterable[Tensor], device: torch.device | str) -> Tensor:
    """Representations of batches of images, in evaluation mode; the mode is restored afterwards."""
    training = encoder.training
    encoder.eval().to(device)
    outputs = [encoder(batch).float().cpu() for batch in images]
    encoder.train(training)
    empty = torch.empty(0, encoder.width, dtype=torch.float32, device="cpu")
    return torch.cat([empty, *outputs])


def frozen_branch(encoder: Encoder, plan: Plan, config: RunConfig) -> FrozenEncoder:
    """Wrap a branch that is not trained; its features are in `machine.features`, or in the run."""
    shared_cache = config.machine.features
    return FrozenEncoder(
        encoder, plan.modality, plan.size, plan.name, config.out, shared_cache=shared_cache
    )


@preserved_torch_state()
def random_encoder(
    spec: str, modality_spec: str, size: int, seed: int, folder: Path
) -> FrozenEncoder:
    """Build an untrained encoder of the same architecture, without the spec's weights."""
    seed_generators(seed, torch.device("cpu"))
    encoder = build_encoder(without_weights(spec), build_modality(modality_spec).channels)
    return FrozenEncoder(encoder.eval(), modality_spec, size, "random", folder, seed=seed)
