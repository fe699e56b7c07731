"""A frozen encoder: what came of a run's branch, with all that is needed to use it.

Evaluation, learning curves, CKA, GradCAM, floors and inference all work on this one class.
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
from morefromless.torch_state import own_state, seed_generators

CHUNK = 256
"""Patches per forward pass; features do not depend on it, since BatchNorm is frozen."""


@dataclass(frozen=True, eq=False)
class FrozenEncoder:
    """An encoder that is no longer trained, and how a patch becomes its input."""

    encoder: Encoder
    modality_spec: str
    """How the modality is typed."""
    size: int
    """Side in px of the images that it takes."""
    name: str
    """Of the run's branch (`primary`, `privileged`), or `random`."""
    folder: Path | None
    """Where features, probes and predictions are cached: the run's folder. None caches nothing."""
    config: RunConfig | None = None
    """How it was trained; None of an encoder that was not trained here."""
    seed: int = 0
    """Of its first weights."""
    head: LinearProbe | None = None
    """A supervised arm's own head, which answers `config.arm.task`."""
    metadata: EncoderMetadata | None = None
    """What stands with its weights; None of an encoder that was not trained here."""
    shared: Path | None = None
    """Where features are cached instead, for every run that has the same frozen encoder."""

    def __repr__(self) -> str:
        """What goes in and what comes out: the network's own text is pages long."""
        inputs = f"{self.modality_spec} at {self.size} px"
        return f"FrozenEncoder({self.title}: {inputs} -> {self.encoder.width} features)"

    @cached_property
    def modality(self) -> Modality:
        return build_modality(self.modality_spec)

    @property
    def fingerprint(self) -> str:
        """Hash of the weights as they are now; what is cached is bound to it."""
        return digest(self.encoder.state_dict())

    @property
    def title(self) -> str:
        """Such as `asymmetric, independent, seed 0`, or `resnet18:pretrained=true`."""
        if self.config is not None:
            return ", ".join([*self.config.arm.words, f"seed {self.config.seed}"])
        return normalise_encoder(self.encoder.spec) if self.encoder.pretrained else "random encoder"

    @property
    def task(self) -> str:
        """What it is asked by default: its arm's task."""
        return self.config.arm.task if self.config else "tissue"

    @property
    def data(self) -> TrainingData | None:
        """The patches that it was trained on; None where not known."""
        return self.metadata.data if self.metadata else None

    @property
    def um_per_px(self) -> float | None:
        """Of the patches that it was trained on; None where not known."""
        return self._trained_on.um_per_px if self._trained_on else None

    @property
    def side(self) -> int | None:
        """Of the patches that it was trained on, in px; None where not known."""
        return self._trained_on.side if self._trained_on else None

    @property
    def _trained_on(self) -> Preprocessing | None:
        return self.metadata.branches[self.name].preprocessing if self.metadata else None

    @property
    def folder_name(self) -> str:
        """Name of the run's folder; the branch's without one."""
        return self.name if self.folder is None else self.folder.name

    def render(
        self, store: Store, rows: npt.NDArray[np.int64], device: torch.device | str = "cpu"
    ) -> Tensor:
        """The encoder's input of the patches at `rows`, without augmentation: (N, C, S, S).

        Raises `DataError` as `check_same_names` does.
        """
        self.check_same_names(store.meta.arrays[self.modality.array].channels, store.path)
        stored = torch.from_numpy(np.asarray(store.array(self.modality.array)[rows]))
        return self.inputs(stored.to(device))

    def check_same_names(self, names: Sequence[str], where: object) -> None:
        """As the function of this name, against those of the training."""
        if self._trained_on:
            check_same_names(self.modality.array, self._trained_on.names, names, where)

    def inputs(self, patches: Tensor | npt.NDArray[Any]) -> Tensor:
        """Its input of patches as they are stored: (N, H, H, 3) uint8 -> (N, C, S, S).

        Raises `DataError` for images in another form, such as floats in [0, 1], and for others than
        RGB of 8 bits where the modality takes those.
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
                f"Patches are {patches.dtype} of shape {tuple(patches.shape)}; give them as they "
                "are stored, (N, side, side, 3) uint8."
            )
        return channels_last(self.modality.render(patches, self.size))

    def batches(
        self, store: Store, rows: npt.NDArray[np.int64], device: torch.device | str = "cpu"
    ) -> Iterator[Tensor]:
        """`render`, `CHUNK` patches at a time."""
        for start in range(0, len(rows), CHUNK):
            yield self.render(store, rows[start : start + CHUNK], device)

    def represent(
        self,
        store: Store,
        rows: npt.NDArray[np.int64],
        device: torch.device | str = "cpu",
        label: str | None = None,
    ) -> Tensor:
        """Representations (N, encoder.width) float32 on the CPU; `label` names a progress bar."""
        order = reading_order(store.array(self.modality.array), rows)
        images = Bar(
            self.batches(store, rows[order], device),
            total=-(-len(rows) // CHUNK),
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
        """Representations of a split's patches that have the modality, cached in the folder."""
        rows = store.select(self.modality).indices(split)
        key = {"weights": self.fingerprint, "store": store.hash, "modality": self.modality_spec}
        # A study's stores share a hash, and the patches that lack another modality differ.
        key |= {"size": str(self.size), "patches": digest_text(*map(str, rows))}

        def compute() -> dict[str, Tensor]:
            return {"features": self.represent(store, rows, device, label)}

        if self.shared is None:
            return self.cached(f"features/{self.name}-{split}", key, compute)["features"]
        name = f"{split}-{digest_text(*key.values())}"
        return cached(self.shared / f"{name}.safetensors", key, compute)["features"]

    def cached(
        self, name: str, key: Mapping[str, str], compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Tensors that follow from `key`, read back from the folder where they are there."""
        if self.folder is None:
            return compute()
        return cached(self.folder / f"{name}.safetensors", key, compute)

    def answers_itself(self, task: str) -> bool:
        """Whether its own head, not a probe, answers a task."""
        if self.head is None or self.config is None:
            return False
        return normalise_task(task) == normalise_task(self.config.arm.task)

    def head_for(self, task: str, store: Store) -> LinearProbe | None:
        """Its head where that answers a task, of which `store` has the labels; else None.

        Raises `DataError` where the store's classes are not those that the head learnt.
        """
        if not self.answers_itself(task):
            return None
        learnt = self.metadata.head if self.metadata else store.classes
        if store.classes != learnt:
            raise DataError(
                f"The head of {self.folder_name} learnt the classes {', '.join(learnt)}, and "
                f"{store.path} has {', '.join(store.classes)}; give the store that it was trained "
                "on."
            )
        return self.head

    def artifact(self, probe: Probe, task: str) -> str:
        """How files of one branch, probe and task are told apart: `primary-linear-cell`."""
        classifier = "head" if self.answers_itself(task) else probe.name
        return "-".join([self.name, classifier, *([] if task == "tissue" else [file_name(task)])])


def check_same_names(
    array: str, learnt: Sequence[str], names: Sequence[str], where: object
) -> None:
    """Raise `DataError` where the channels, or a vector's values, of `where` are called otherwise
    than those that were learnt, or stand in another order; nothing where either is not known."""
    if not learnt or not names or tuple(learnt) == tuple(names):
        return
    held = set(names)
    lacking = [name for name in learnt if name not in held]
    what = "has them in another order, or more of them"
    if lacking:
        what = f"lacks {len(lacking):,} of them, such as {lacking[0]}"
    raise DataError(
        f"'{array}' was learnt as {len(learnt):,} named values, and {where} {what}; ingest it with "
        "the same ones, in the same order."
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
    """Representations of batches of images, in evaluation mode; the mode is then as it was."""
    training = encoder.training
    encoder.eval().to(device)
    outputs = [encoder(batch).float().cpu() for batch in images]
    encoder.train(training)
    nothing = torch.empty(0, encoder.width, dtype=torch.float32, device="cpu")
    return torch.cat([nothing, *outputs])


def frozen_branch(encoder: Encoder, plan: Plan, config: RunConfig) -> FrozenEncoder:
    """A branch that is not trained; its features are in `machine.features`, or in the run."""
    shared = config.machine.features
    return FrozenEncoder(encoder, plan.modality, plan.size, plan.name, config.out, shared=shared)


@own_state()
def random_encoder(
    spec: str, modality_spec: str, size: int, seed: int, folder: Path
) -> FrozenEncoder:
    """An untrained encoder of the same architecture: weights that the spec names are left out."""
    seed_generators(seed, torch.device("cpu"))
    encoder = build_encoder(without_weights(spec), build_modality(modality_spec).channels)
    return FrozenEncoder(encoder.eval(), modality_spec, size, "random", folder, seed=seed)
