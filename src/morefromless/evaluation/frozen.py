"""A frozen encoder: what came of a run's branch, with all that is needed to use it.

Evaluation, learning curves, CKA, GradCAM, floors and inference all work on this one class.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from morefromless.branches import Plan, build_encoder, untrained
from morefromless.config import Probe, RunConfig, from_flat
from morefromless.data.store import Split, Store
from morefromless.encoders import Encoder
from morefromless.errors import ConfigError, TrainingError
from morefromless.evaluation.cache import cached, digest, digest_text
from morefromless.evaluation.metadata import (
    BranchMetadata,
    EncoderMetadata,
    Preprocessing,
    describe,
    read_metadata,
)
from morefromless.modalities import Modality
from morefromless.pairs import channels_last, modality
from morefromless.probes import LinearProbe
from morefromless.progress import Bar
from morefromless.runs import Run, file_name
from morefromless.specs import SCHEMES

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
    """How it was trained; None of an untrained encoder."""
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
        given = f"{self.modality_spec} at {self.size} px"
        return f"FrozenEncoder({self.title}: {given} -> {self.encoder.width} features)"

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
        return ", ".join([*arm.words, f"seed {self.config.seed}"])

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
        """The encoder's input of the patches at `rows`, without augmentation: (N, C, S, S)."""
        stored = torch.from_numpy(np.asarray(store.array(self.modality.array)[rows]))
        return self.inputs(stored.to(device))

    def inputs(self, patches: Tensor) -> Tensor:
        """Its input of patches as they are stored: (N, H, H, 3) uint8 -> (N, C, S, S)."""
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
        images = Bar(
            self.batches(store, rows, device),
            total=-(-len(rows) // CHUNK),
            desc=label,
            unit="batch",
            disable=label is None,
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
        key |= {"size": str(self.size), "patches": str(len(rows))}

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


def frozen_branch(encoder: Encoder, plan: Plan, config: RunConfig) -> FrozenEncoder:
    """A branch that is not trained; its features are in `machine.features`, or in the run."""
    shared = config.machine.features
    return FrozenEncoder(encoder, plan.modality, plan.size, plan.name, config.out, shared=shared)


def load_encoder(
    path_or_name: str | Path, branch: str = "primary", *, trust: bool = False
) -> FrozenEncoder:
    """The frozen encoder of a run's folder, of a folder or file that `mfl export` wrote, or of a
    specification with weights, such as `resnet50:pretrained=true` or `hf-hub:owner/name:pretrained=
    true`, which may download them. No store is needed.

    `branch` is `primary` or `privileged`; `trust` imports classes from outside the package that a
    folder names. Raises `ConfigError` where there is no such encoder, or a specification has no
    weights, and `TrainingError` where weights do not fit.

    >>> load_encoder("test_resnet:pretrained=false")
    Traceback (most recent call last):
    morefromless.errors.ConfigError: 'test_resnet:pretrained=false' has random weights; append
    :pretrained=true (which may download them) or :weights=FILE, or give the folder of a run.
    """
    path = Path(path_or_name).expanduser()
    if (path / "run.json").is_file():
        encoders = load_encoders(Run.open(path, trust))
    elif path.exists():
        encoders = _exported(path, trust)
    else:
        encoders = {"primary": _pretrained(str(path_or_name))}
    if branch not in encoders:
        raise ConfigError(
            f"{path_or_name} has no branch '{branch}', only {', '.join(encoders)}; give another "
            "--branch."
        )
    return encoders[branch]


def load_encoders(run: Run) -> dict[str, FrozenEncoder]:
    """The frozen encoders of a finished run by branch: what `load_encoder` chooses from.

    Raises `ConfigError` where `run` is not finished, `TrainingError` where its weights do not fit.
    """
    config, weights = run.config, run.weights()
    metadata = read_metadata(run.weights_path) or describe(config, weights)
    if not run.trust:
        metadata.refuse_outside(str(run.weights_path))
    return _built(metadata, weights, run.weights_path, config, run.path)


def _exported(path: Path, trust: bool) -> dict[str, FrozenEncoder]:
    """The encoder of a folder, or of a safetensors file, that `mfl export` wrote."""
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(
            f"{path} holds neither a run (run.json) nor an exported encoder (model.safetensors); "
            "check the path."
        )
    if file.suffix != ".safetensors":
        raise ConfigError(
            f"{file} may hold a program (a pickle), so it is not opened; give a run, a folder "
            "of mfl export, or NAME:weights=FILE, which reads tensors only."
        )
    metadata = read_metadata(file)
    if metadata is None:
        raise ConfigError(f"{file} does not say which encoder it is of; give NAME:weights={file}.")
    if not trust:
        metadata.refuse_outside(str(file))
    store = metadata.data.store if metadata.data else ""
    options = {**metadata.options, "store": store, "out": str(file.parent), "features": None}
    config = from_flat(RunConfig, options, str(file))
    try:
        weights = load_file(file)
    except SafetensorError as error:
        raise TrainingError(f"{file} is damaged ({error}); export it again.") from error
    return _built(metadata, weights, file, config, None)


def _pretrained(spec: str) -> FrozenEncoder:
    """An encoder of the open set with weights, which sees whole patches."""
    if "/" in spec and not spec.startswith(SCHEMES) and ":" not in spec:
        raise ConfigError(f"There is no run or exported encoder at {spec}; check the path.")
    encoder = build_encoder(spec)
    if not encoder.pretrained:
        raise ConfigError(
            f"'{spec}' has random weights; append :pretrained=true (which may download them) or "
            ":weights=FILE, or give the folder of a run."
        )
    return FrozenEncoder(encoder.eval(), "full", encoder.input_size, "primary", None)


def _built(
    metadata: EncoderMetadata,
    weights: Mapping[str, Tensor],
    file: Path,
    config: RunConfig,
    folder: Path | None,
) -> dict[str, FrozenEncoder]:
    head = None
    if metadata.head or "head.weight" in weights:
        head = _head(weights, len(metadata.head), file)
    by_prefix: dict[str, Encoder] = {}  # branches with shared weights are one encoder
    encoders = {}
    for name, branch in metadata.branches.items():
        prepared = branch.preprocessing
        if branch.prefix not in by_prefix:
            encoder = build_encoder(branch.encoder, prepared.channels)
            _load(encoder, branch, weights, file)
            by_prefix[branch.prefix] = encoder.eval()
        encoders[name] = FrozenEncoder(
            by_prefix[branch.prefix],
            prepared.modality,
            prepared.size,
            name,
            folder,
            config,
            config.seed,
            head,
            metadata,
            config.machine.features if name in config.pairing.freeze else None,
        )
    return encoders


def _head(weights: Mapping[str, Tensor], classes: int, file: Path) -> LinearProbe:
    """A supervised arm's own head. Raises `TrainingError` where it has other classes."""
    weight, bias = weights.get("head.weight"), weights.get("head.bias")
    if (
        weight is None
        or bias is None
        or weight.ndim != 2
        or not weight.shape[0] == classes == bias.numel()
    ):
        raise TrainingError(f"{file} has no head of {classes} classes, as it says; fetch it again.")
    return LinearProbe(weight, bias)


def _load(
    encoder: Encoder, branch: BranchMetadata, weights: Mapping[str, Tensor], file: Path
) -> None:
    """Load the tensors of a branch. Raises `TrainingError` where they are of another encoder."""
    state = {
        name.removeprefix(branch.prefix): tensor
        for name, tensor in weights.items()
        if name.startswith(branch.prefix)
    }
    expected = encoder.state_dict()
    mean, std = branch.preprocessing.mean, branch.preprocessing.std
    if "mean" in expected and "mean" not in state and mean and std:  # timm's names, as exported
        state = {f"network.{name}": tensor for name, tensor in state.items()}
        state |= {k: torch.tensor(v).view(1, -1, 1, 1) for k, v in (("mean", mean), ("std", std))}
    wrong = [k for k in expected if k not in state or state[k].shape != expected[k].shape]
    if wrong or len(state) != len(expected):
        raise TrainingError(
            f"{file} does not fit encoder '{branch.encoder}' ({len(wrong)} of {len(expected)} "
            f"tensors missing or of another shape, first: {(wrong or ['extra tensors'])[0]}); it "
            "is a checkpoint of another encoder."
        )
    encoder.load_state_dict(state)


def random_encoder(
    spec: str, modality_spec: str, size: int, seed: int, folder: Path
) -> FrozenEncoder:
    """An untrained encoder of the same architecture: weights that the spec names are left out."""
    torch.manual_seed(seed)
    encoder = build_encoder(untrained(spec), modality(modality_spec).channels)
    return FrozenEncoder(encoder.eval(), modality_spec, size, "random", folder, seed=seed)
