"""A frozen encoder: what came of a run's branch, with all that is needed to use it.

Evaluation, learning curves, CKA, GradCAM, floors and inference all work on this one class.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from tqdm import tqdm

from morefromless.branches import Branches, build_encoder, plans, untrained
from morefromless.config import Probe, RunConfig
from morefromless.data.store import Split, Store
from morefromless.encoders import Encoder
from morefromless.evaluation.cache import cached, digest
from morefromless.evaluation.probes import LinearProbe
from morefromless.modalities import Modality
from morefromless.pairs import channels_last, modality
from morefromless.runs import Run, file_name

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
    folder: Path
    """Where features, probes and predictions are cached: the run's folder."""
    config: RunConfig | None = None
    """How it was trained; None of an untrained encoder."""
    seed: int = 0
    """Of its first weights."""
    head: LinearProbe | None = None
    """A supervised arm's own head, which answers `config.arm.task`."""

    @cached_property
    def modality(self) -> Modality:
        return modality(self.modality_spec)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights; what is cached is bound to it."""
        return digest(self.encoder.state_dict())

    @property
    def title(self) -> str:
        """Such as `asymmetric, independent, seed 0`."""
        if self.config is None:
            return "random encoder"
        arm = self.config.arm
        words = [arm.kind, *([] if arm.supervised else [arm.sharing]), f"seed {self.config.seed}"]
        return ", ".join(words)

    def render(
        self, store: Store, rows: npt.NDArray[np.int64], device: torch.device | str = "cpu"
    ) -> Tensor:
        """The encoder's input of the patches at `rows`, without augmentation: (N, C, S, S)."""
        stored = torch.from_numpy(np.asarray(store.array(self.modality.array)[rows]))
        return channels_last(self.modality.render(stored.to(device), self.size))

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
        images = tqdm(
            self.batches(store, rows, device),
            total=-(-len(rows) // CHUNK),
            desc=label,
            unit="batch",
            disable=label is None,
            leave=False,
        )
        return represent(self.encoder, images, device)

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
        tensors = cached(
            self.folder / "features" / f"{self.name}-{split}.safetensors",
            {**key, "size": str(self.size), "patches": str(len(rows))},
            lambda: {"features": self.represent(store, rows, device, label)},
        )
        return tensors["features"]

    def answers_itself(self, task: str) -> bool:
        """Whether its own head, not a probe, answers a task."""
        return self.head is not None and self.config is not None and task == self.config.arm.task

    def artifact(self, probe: Probe, task: str) -> str:
        """How files of one branch, probe and task are told apart: `primary-linear-cell`."""
        how = "head" if self.answers_itself(task) else probe.name
        return "-".join([self.name, how, *([] if task == "tissue" else [file_name(task)])])


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
    return torch.cat(outputs)


def load_encoders(run: Run) -> dict[str, FrozenEncoder]:
    """The frozen encoders of a finished run by branch; no store is needed.

    Raises `ConfigError` where `run` is not finished, `TrainingError` where its weights do not fit.
    """
    config = run.config
    size = config.train.size
    if config.arm.supervised:
        weights = run.weights()
        channels = modality(config.arm.primary).channels
        encoder = build_encoder(untrained(config.train.encoder), channels)
        classes = weights["head.bias"].shape[0] if "head.bias" in weights else 1
        network = nn.ModuleDict({"encoder": encoder, "head": nn.Linear(encoder.width, classes)})
        run.load_into(network, weights)
        head = network["head"]
        assert isinstance(head, nn.Linear)
        return {
            "primary": FrozenEncoder(
                encoder.eval(),
                config.arm.primary,
                size,
                "primary",
                run.path,
                config,
                config.seed,
                LinearProbe(head.weight.detach(), head.bias.detach()),
            )
        }
    branch_plans = [replace(plan, encoder=untrained(plan.encoder)) for plan in plans(config)]
    branches = Branches(branch_plans, config.pairing.width)
    run.load_into(nn.ModuleDict({"branches": branches}))
    return {
        plan.name: FrozenEncoder(
            branches[plan.name].encoder.eval(),
            plan.modality,
            size,
            plan.name,
            run.path,
            config,
            config.seed,
        )
        for plan in branch_plans
        if plan.name != "twin"  # a second view of the primary, not another encoder
    }


def random_encoder(
    spec: str, modality_spec: str, size: int, seed: int, folder: Path
) -> FrozenEncoder:
    """An untrained encoder of the same architecture: weights that the spec names are left out."""
    torch.manual_seed(seed)
    encoder = build_encoder(untrained(spec), modality(modality_spec).channels)
    return FrozenEncoder(encoder.eval(), modality_spec, size, "random", folder, seed=seed)
