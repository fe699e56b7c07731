"""Export an encoder for other programs: a timm folder, ONNX, torch.export.

OUT/model.safetensors   weights under timm's names; `encoder.json` in their metadata
OUT/config.json         architecture and preprocessing, in the format of timm and the Hub
OUT/encoder.json        metadata needed to use the encoder (`evaluation.metadata`)
OUT/probe-*             calibrated probes (`evaluation.calibration`), if the run has any
OUT/encoder.onnx        if requested
OUT/encoder.pt2         torch.export program, if requested
OUT/README.md           the model card
"""

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from morefromless import files
from morefromless.encoders import ENCODER_KEY
from morefromless.encoders.timm import Timm
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.cache import digest
from morefromless.evaluation.calibration import calibrated_files
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.evaluation.metadata import EncoderMetadata, read_metadata

WEIGHTS = "model.safetensors"
EXPORTED_FILES = (
    WEIGHTS,
    "config.json",
    "encoder.json",
    "encoder.onnx",
    "encoder.pt2",
    "README.md",
)
"""Files that an exported folder may contain, in addition to probes."""
PROBE_FILE = re.compile(r"probe-.+-calibrated\.safetensors")

OPSET = 18
"""Lowest ONNX opset version that PyTorch's exporter writes."""

TOLERANCE = 1e-4
"""Tolerated difference between features of a graph and of PyTorch, relative to the largest."""


def export(
    frozen: FrozenEncoder,
    folder: Path,
    source: Path | None = None,
    *,
    onnx: bool = False,
    torch_export: bool = False,
    preprocessing: bool = False,
    opset: int = OPSET,
) -> list[Path]:
    """Write an encoder's weights, the calibrated probes in `source` and, if requested, graphs into
    `folder`. Return the written files.

    With `preprocessing`, graphs take patches (N, side, side, 3) uint8, as in training. Without it,
    they take the modality at the encoder's size, (N, C, size, size) float32 in [0, 1]. Graphs
    include the normalisation, accept any N, and are compared with PyTorch after writing. Files
    from an earlier export of another encoder are removed. Raises `ConfigError` if the export is
    not possible, and `DataError` if the features of a graph differ.
    """
    if frozen.metadata is None:
        raise ConfigError(
            f"'{frozen.name}' was not trained by this program, so it cannot be exported; give a "
            "run."
        )
    if onnx:
        _onnxruntime(opset)
    graph = _graph(frozen, preprocessing) if onnx or torch_export else None
    _refuse_others(folder)
    metadata = _metadata(frozen, frozen.metadata)
    plain_metadata = msgspec.to_builtins(metadata)
    weights = _weights(frozen)
    file_metadata = {"format": "pt", ENCODER_KEY: json.dumps(plain_metadata)}
    probes = calibrated_files(source, frozen) if source else []
    content = {probe.name: probe.read_bytes() for probe in probes}
    _remove_earlier(folder, weights, file_metadata)
    files.write_bytes(folder / WEIGHTS, save(weights, file_metadata))
    files.write_json(folder / "encoder.json", plain_metadata)
    written = [folder / WEIGHTS, folder / "encoder.json"]
    for name, data in content.items():
        files.write_bytes(folder / name, data)
        written.append(folder / name)
    if isinstance(frozen.encoder, Timm):
        files.write_json(folder / "config.json", timm_config(frozen))
        written.append(folder / "config.json")
    with warnings.catch_warnings(action="ignore"):  # PyTorch's exporters warn about their own code
        if graph and onnx:
            written.append(write_onnx(*graph, folder / "encoder.onnx", opset))
        if graph and torch_export:
            written.append(write_torch(*graph, folder / "encoder.pt2"))
    return written


def timm_config(frozen: FrozenEncoder) -> dict[str, Any]:
    """Content of `config.json`, as `timm.create_model("local-dir:FOLDER")` reads it."""
    encoder = frozen.encoder
    assert isinstance(encoder, Timm)
    assert frozen.metadata is not None
    preprocessing = frozen.metadata.branches[frozen.name].preprocessing
    arguments = dict(encoder.arguments)
    if preprocessing.channels != 3:
        arguments["in_chans"] = preprocessing.channels
    pretrained: dict[str, Any] = dict(encoder.network.pretrained_cfg)  # type: ignore[arg-type]
    if pretrained.get("fixed_input_size"):  # otherwise timm resamples the position embeddings
        arguments.setdefault("img_size", encoder.input_size)
    return {
        "architecture": pretrained["architecture"],
        "num_classes": 0,
        "num_features": encoder.width,
        "model_args": arguments,
        "pretrained_cfg": {
            "input_size": [preprocessing.channels, frozen.size, frozen.size],
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "mean": preprocessing.mean,
            "std": preprocessing.std,
            "num_classes": 0,
            "first_conv": pretrained.get("first_conv"),
            "classifier": pretrained.get("classifier"),
        },
    }


def write_onnx(module: nn.Module, example: Tensor, path: Path, opset: int = OPSET) -> Path:
    """Write a module as ONNX, and check it with onnxruntime on other batch sizes.

    Raises `ConfigError` if ONNX cannot be written (`_onnxruntime`), and `DataError` if its
    features differ.
    """
    onnxruntime = _onnxruntime(opset)
    with files.replacing(path) as temporary:
        torch.onnx.export(
            module,
            (example,),
            temporary,
            input_names=["images"],
            output_names=["features"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=opset,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        for batch in _batches(example):
            (features,) = session.run(None, {"images": batch.numpy()})
            _compare(features, module(batch).numpy(), path)
    return path


def _onnxruntime(opset: int) -> Any:
    """Import onnxruntime. Raises `ConfigError` without the extra `onnx`, or for another opset."""
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "ONNX needs the extra onnx; install it: pip install 'morefromless[onnx]'."
        ) from error
    newest = onnx.defs.onnx_opset_version()
    if not OPSET <= opset <= newest:
        raise ConfigError(
            f"PyTorch does not write --opset {opset}; give one from {OPSET} to {newest}, or "
            "convert the file with onnx.version_converter."
        )
    return onnxruntime


def write_torch(module: nn.Module, example: Tensor, path: Path) -> Path:
    """Write a module with torch.export, and check it on other batch sizes."""
    program = torch.export.export(
        module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    with files.replacing(path) as temporary:
        with temporary.open("wb") as file:
            torch.export.save(program, file)
        with temporary.open("rb") as file:
            loaded = torch.export.load(file).module()
        for batch in _batches(example):
            _compare(loaded(batch).numpy(), module(batch).numpy(), path)
    return path


class Preprocess(nn.Module):
    """A resizing modality as matrix products, which graph formats support."""

    def __init__(self, matrices: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.count = len(matrices)
        for number, matrix in enumerate(matrices):
            self.register_buffer(f"matrix{number}", matrix.float())

    def forward(self, patches: Tensor) -> Tensor:
        """(N, side, side, C) uint8 -> (N, C, size, size) float32 in [0, 1]."""
        images = patches.permute(0, 3, 1, 2).float()
        for number in range(self.count):
            matrix = self.get_buffer(f"matrix{number}")
            images = matrix @ images @ matrix.T
        return (images / 255).clamp(0, 1)


def _graph(frozen: FrozenEncoder, preprocessing: bool) -> tuple[nn.Module, Tensor]:
    """The module to write as a graph, with gradients disabled, and an example input."""
    encoder = frozen.encoder.eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    shape = frozen.modality.shape(frozen.size)
    if not preprocessing:
        return encoder, torch.rand(2, *shape, generator=generator)
    side = frozen.side
    matrices = None if side is None else frozen.modality.matrices(side, frozen.size)
    if matrices is None:
        raise ConfigError(
            f"The modality {frozen.modality_spec} does not resize patches of a known size, so it "
            "cannot be part of the graph; remove --preprocessing."
        )
    patches = torch.randint(0, 256, (2, side, side, 3), generator=generator, dtype=torch.uint8)  # type: ignore[arg-type]
    return nn.Sequential(Preprocess(matrices), encoder).eval(), patches


def _batches(example: Tensor) -> list[Tensor]:
    return [example[:1], torch.cat([example, example.flip(0), example[:1]])]


def _compare(features: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], path: Path) -> None:
    difference = float(np.abs(features - expected).max() / np.abs(expected).max())
    if not difference <= TOLERANCE:
        raise DataError(
            f"{path} was not written: its features differ from PyTorch's by {difference:.1e} of "
            f"the largest feature (limit {TOLERANCE:g}); export without this format."
        )


def _weights(frozen: FrozenEncoder) -> dict[str, Tensor]:
    """Weights by name: timm's names for timm encoders, without the normalisation (in the JSON)."""
    module = frozen.encoder.network if isinstance(frozen.encoder, Timm) else frozen.encoder
    return {name: tensor.contiguous() for name, tensor in module.state_dict().items()}


def _metadata(frozen: FrozenEncoder, metadata: EncoderMetadata) -> EncoderMetadata:
    """Metadata of this encoder alone; a supervised head is exported in the probe's file."""
    branch = replace(metadata.branches[frozen.name], prefix="")
    return replace(metadata, branches={frozen.name: branch}, head=())


def _refuse_others(folder: Path) -> None:
    """Raise `ConfigError` if a folder contains files that no export wrote."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    exported = {name for name in names if name in EXPORTED_FILES or PROBE_FILE.fullmatch(name)}
    others = {name for name in names - exported if not name.endswith(".partial")}
    if exported and not _is_exported(folder / WEIGHTS):
        others |= exported
    if others:
        raise ConfigError(
            f"{folder} contains other files ({min(others)}); give a new or empty folder."
        )


def _is_exported(weights: Path) -> bool:
    try:
        return weights.is_file() and read_metadata(weights) is not None
    except ConfigError:
        return False


def _remove_earlier(
    folder: Path, weights: Mapping[str, Tensor], file_metadata: dict[str, str]
) -> None:
    """Remove the files of an earlier export, unless it had the same weights and metadata. File
    bytes cannot be compared, because safetensors writes its metadata in any order."""
    path = folder / WEIGHTS
    if not path.is_file():
        return
    with safe_open(path, "pt") as file:
        same = file.metadata() == file_metadata
    if not same or digest(load_file(path)) != digest(weights):
        for earlier in folder.iterdir():
            earlier.unlink()
