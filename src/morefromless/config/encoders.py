"""Options of the commands that use a trained encoder."""

from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import Positional

from morefromless.config.bounds import check_above_zero, check_between
from morefromless.config.help import File
from morefromless.config.parts import Device, Role
from morefromless.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Which encoder to use, and on which device."""

    branch: Role = "primary"
    """Encoder of the modality that is present at inference, or of the privileged one."""
    trust: bool = False
    """Allow classes from outside the package that the run names; only for runs you trust."""
    device: Device = "auto"
    """Device that runs the encoder."""


@dataclass(frozen=True, kw_only=True)
class Inputs(Loading):
    """How to read the inputs of an encoder."""

    um_per_px: float | None = None
    """Pixel size of the inputs in µm, if the files do not state it."""
    at: float | None = None
    """Pixel size of the encoder's input in µm; by default the one it was trained at.
    Slides are read at this pixel size, and patches must have it."""

    def __post_init__(self) -> None:
        check_above_zero(self, "um_per_px", "at")


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """Which encoder to use, its inputs, and the output file."""

    encoder: Positional[str]
    """Folder of a finished run, folder or file that `mfl export` wrote, or a specification with
    weights, such as resnet50:pretrained=true or hf-hub:owner/name:pretrained=true."""
    inputs: Positional[tuple[str, ...]]
    """Folders of patches, stores, tables, image files, slides or folders of slides. A .tif file
    larger than 1,024 px is read as a slide. Any other source of `mfl ingest` also works."""
    to: File
    """File to write: .h5 (features and coords, as slide tools read them), .parquet, .csv, .h5ad or
    .npz. If interrupted, run the same command again to resume."""
    reading: Inputs = field(default_factory=Inputs)


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Which encoder to use, its inputs, and the output file."""

    encoder: Positional[str]
    """Folder of a finished run, or folder that `mfl export` wrote; with --store also a
    specification with weights, such as resnet50:pretrained=true."""
    inputs: Positional[tuple[str, ...]]
    """Folders of patches, stores, tables, image files, slides or folders of slides. A .tif file
    larger than 1,024 px is read as a slide. Any other source of `mfl ingest` also works."""
    to: File
    """File to write: .csv or .parquet. If interrupted, run the same command again to resume."""
    maps: Path | None = None
    """Folder for heat maps of the slides: OME-TIFF, PNG, and GeoJSON for QuPath."""
    abstain: float = 0.0
    """Minimum probability of a class; patches below it get no class. The share of patches with a
    class, and its accuracy on held-out training patches, are printed."""
    task: str | None = None
    """Task to predict; by default the run's own."""
    store: Path | None = None
    """Store of labelled patches to fit a probe on, if the encoder has none: the run's store, if it
    has moved, or another store."""
    reading: Inputs = field(default_factory=Inputs)

    def __post_init__(self) -> None:
        if not 0 <= self.abstain <= 1:
            raise ConfigError(f"--abstain is {self.abstain:g}; give a probability, from 0 to 1.")


@dataclass(frozen=True, kw_only=True)
class AppConfig(Loading):
    """Which encoder to serve a page for, and where."""

    encoder: Positional[str]
    """Folder of a finished run, or folder that `mfl export` wrote; with --store also a
    specification with weights, such as resnet50:pretrained=true."""
    task: str | None = None
    """Task to predict; by default the run's own."""
    store: Path | None = None
    """Store of labelled patches, to fit the probe and to search for the nearest patches; by default
    the run's store."""
    port: int = 8765
    """Port on 127.0.0.1, which no other computer can reach; 0 selects a free port."""

    def __post_init__(self) -> None:
        check_between(0, 65535, self, "port")


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Which encoder to export for other tools, and how."""

    encoder: Positional[str]
    """Folder of a finished run."""
    out: Positional[Path]
    """Folder for model.safetensors and config.json, which timm.create_model("local-dir:FOLDER",
    pretrained=True) loads, encoder.json, and the model card, README.md."""
    branch: Role = "primary"
    """Encoder of the modality that is present at inference, or of the privileged one."""
    onnx: bool = False
    """Also write encoder.onnx (extra onnx)."""
    torch_export: bool = False
    """Also write encoder.pt2, which torch.export.load reads."""
    preprocessing: bool = False
    """Include the modality in these graphs, so that their input is uint8 patches as stored."""
    opset: int = 18
    """Version of the ONNX operator set."""
    validations: tuple[Path, ...] = ()
    """Folders that `mfl validate --out` wrote elsewhere, to include in the model card."""
    trust: bool = False
    """Allow classes from outside the package that the run names; only for runs you trust."""

    def __post_init__(self) -> None:
        check_between(1, 1000, self, "opset")
        if self.preprocessing and not (self.onnx or self.torch_export):
            raise ConfigError(
                "--preprocessing is part of a graph; give --onnx or --torch-export too."
            )
