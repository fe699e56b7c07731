"""Load frozen encoders from a run's folder, from an export, or by name."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from morefromless.config import RunConfig, from_flat
from morefromless.encoders import Encoder, build_encoder, tensors_below
from morefromless.errors import ConfigError, TrainingError
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.evaluation.metadata import (
    BranchMetadata,
    EncoderMetadata,
    build_metadata,
    read_metadata,
)
from morefromless.probes import LinearProbe
from morefromless.runs import Run, missing_run_remedy
from morefromless.specs import SCHEMES
from morefromless.torch_state import preserved_torch_state


@preserved_torch_state()
def load_encoder(
    path_or_name: str | Path, branch: str = "primary", *, trust: bool = False
) -> FrozenEncoder:
    """Load a frozen encoder from a run's folder, from an export, or by name. No store is needed.

    `path_or_name` is a run's folder, a folder or file that `mfl export` wrote, or a specification
    with weights, such as `resnet50:pretrained=true` or `hf-hub:owner/name:pretrained=true`, which
    may download them. `branch` is `primary` or `privileged`. `trust` allows imports of classes from
    outside the package that a folder names. Raises `ConfigError` if there is no such encoder or a
    specification has no weights, and `TrainingError` if weights do not fit.

    >>> load_encoder("test_resnet:pretrained=false")
    Traceback (most recent call last):
    morefromless.errors.ConfigError: 'test_resnet:pretrained=false' has random weights; append
    :pretrained=true (which may download them) or :weights=FILE, or give the folder of a run.
    """
    path = Path(path_or_name).expanduser()
    if (path / "run.json").is_file():
        encoders = load_encoders(Run.open(path, trust))
    elif path.exists():
        encoders = _load_exported(path, trust)
    else:
        encoders = {"primary": _load_pretrained(str(path_or_name))}
    if branch not in encoders:
        raise ConfigError(
            f"{path_or_name} has no branch '{branch}', only {', '.join(encoders)}; give another "
            "--branch."
        )
    return encoders[branch]


@preserved_torch_state()
def load_encoders(run: Run) -> dict[str, FrozenEncoder]:
    """Load the frozen encoders of a finished run, by branch.

    Raises `ConfigError` if `run` is not finished, `TrainingError` if its weights do not fit.
    """
    run = Run.open(run.path, run.trust)
    config, weights = run.config, run.weights()
    metadata = read_metadata(run.weights_path) or build_metadata(config, weights)
    if not run.trust:
        metadata.refuse_outside(str(run.weights_path))
    return _build(metadata, weights, run.weights_path, config, run.path)


def _load_exported(path: Path, trust: bool) -> dict[str, FrozenEncoder]:
    """Load the encoders of a folder or safetensors file that `mfl export` wrote."""
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(
            f"{path} contains neither a run (run.json) nor an exported encoder "
            f"(model.safetensors); {missing_run_remedy(path)}."
        )
    if file.suffix != ".safetensors":
        raise ConfigError(
            f"{file} may contain code (a pickle), so it is not loaded; give a run, a folder "
            "of mfl export, or NAME:weights=FILE, which loads only tensors."
        )
    metadata = read_metadata(file)
    if metadata is None:
        raise ConfigError(f"{file} does not name its encoder; give NAME:weights={file}.")
    if not trust:
        metadata.refuse_outside(str(file))
    store = metadata.data.store if metadata.data else ""
    options = {**metadata.options, "store": store, "out": str(file.parent), "features": None}
    config = from_flat(RunConfig, options, str(file))
    try:
        weights = load_file(file)
    except SafetensorError as error:
        raise TrainingError(f"{file} is damaged ({error}); export it again.") from error
    return _build(metadata, weights, file, config, None)


def _load_pretrained(spec: str) -> FrozenEncoder:
    """Build an encoder with pretrained weights, whose input is the whole patch."""
    if "/" in spec and not spec.startswith(SCHEMES) and ":" not in spec:
        raise ConfigError(f"There is no run or exported encoder at {spec}; check the path.")
    encoder = build_encoder(spec)
    if not encoder.pretrained:
        raise ConfigError(
            f"'{spec}' has random weights; append :pretrained=true (which may download them) or "
            ":weights=FILE, or give the folder of a run."
        )
    return FrozenEncoder(encoder.eval(), "full", encoder.input_size, "primary", None)


def _build(
    metadata: EncoderMetadata,
    weights: Mapping[str, Tensor],
    file: Path,
    config: RunConfig,
    folder: Path | None,
) -> dict[str, FrozenEncoder]:
    head = None
    if metadata.head or "head.weight" in weights:
        head = _head(weights, len(metadata.head), file)
    by_prefix: dict[str, Encoder] = {}  # branches with shared weights use one encoder
    encoders = {}
    for name, branch in metadata.branches.items():
        preprocessing = branch.preprocessing
        if branch.prefix not in by_prefix:
            encoder = build_encoder(branch.encoder, preprocessing.channels)
            _load(encoder, branch, weights, file)
            by_prefix[branch.prefix] = encoder.eval()
        encoders[name] = FrozenEncoder(
            by_prefix[branch.prefix],
            preprocessing.modality,
            preprocessing.size,
            name,
            folder,
            config=config,
            seed=config.seed,
            head=head,
            metadata=metadata,
            shared_cache=config.machine.features if name in config.pairing.freeze else None,
        )
    return encoders


def _head(weights: Mapping[str, Tensor], classes: int, file: Path) -> LinearProbe:
    """Load a supervised arm's own head. Raises `TrainingError` if its shape does not match."""
    weight, bias = weights.get("head.weight"), weights.get("head.bias")
    if (
        weight is None
        or bias is None
        or weight.ndim != 2
        or not weight.shape[0] == classes == bias.numel()
    ):
        raise TrainingError(
            f"The head in {file} does not match its metadata ({classes} classes); download it "
            "again."
        )
    return LinearProbe(weight, bias)


def _load(
    encoder: Encoder, branch: BranchMetadata, weights: Mapping[str, Tensor], file: Path
) -> None:
    """Load the tensors of a branch. Raises `TrainingError` if they are of another encoder."""
    state = tensors_below(branch.prefix, weights)
    expected = encoder.state_dict()
    mean, std = branch.preprocessing.mean, branch.preprocessing.std
    if "mean" in expected and "mean" not in state and mean and std:  # exported with timm's names
        state = {f"network.{name}": tensor for name, tensor in state.items()}
        state |= {k: torch.tensor(v).view(1, -1, 1, 1) for k, v in (("mean", mean), ("std", std))}
    mismatched = [k for k in expected if k not in state or state[k].shape != expected[k].shape]
    if mismatched or len(state) != len(expected):
        raise TrainingError(
            f"{file} does not fit encoder '{branch.encoder}' ({len(mismatched)} of {len(expected)} "
            f"tensors missing or of another shape, first: {(mismatched or ['extra tensors'])[0]}); "
            "it is a checkpoint of another encoder."
        )
    encoder.load_state_dict(state)
