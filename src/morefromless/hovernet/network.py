"""TIAToolbox's HoVer-Net with six PanNuke types. No other module needs TIAToolbox.

TIAToolbox's engines read slides and folders and write their own stores. They cannot resume per
patch, and cannot convert results to a patch's own grid. Therefore only its network and its
post-processing are used; the loop around them is in `hovernet.segment`.
"""

import hashlib
import importlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

from morefromless.errors import ConfigError, first_line
from morefromless.hovernet.windows import Maps

PRETRAINED = "hovernet_fast-pannuke"
LICENCE = "CC BY-NC-SA 4.0: not for commercial use"

INSTALL = (
    "mfl segment needs TIAToolbox, an extra; install it with pip install 'morefromless[nuclei]' "
    "(tiatoolbox 2.1.3 requires torch 2.12.1 and torchvision 0.27.1), or use a segmentation from "
    "another program with mfl ingest --nuclei."
)

TYPES = 6


class Hovernet:
    """The network with its weights, on one device.

    `weights` is a file: safetensors, or a PyTorch file that contains only tensors. Without a file,
    TIAToolbox downloads the weights `PRETRAINED` into its own folder. Raises `ConfigError` if
    TIAToolbox is missing, or if the weights are not available or do not match the network.
    """

    def __init__(self, weights: Path | None, device: str) -> None:
        self.network = network()
        # PyTorch's own `to`: TIAToolbox's version wraps the network if there are several GPUs.
        torch.nn.Module.to(self.network, device)
        self.device = device
        path = pretrained_weights() if weights is None else weights
        _load(self.network, path)
        self.facts = {
            "network": PRETRAINED,
            "weights": path.name,
            "weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "tiatoolbox": version("tiatoolbox"),
            "torch": torch.__version__,
        }

    def infer(self, windows: npt.NDArray[np.uint8]) -> Maps:
        """Windows (n, 256, 256, 3) uint8 -> nuclear probability (n, 164, 164, 1), distances
        (n, 164, 164, 2) and type (n, 164, 164, 1), all float32."""
        maps: Maps = self.network.infer_batch(
            self.network, torch.from_numpy(windows), device=self.device
        )
        return maps

    def nuclei(self, maps: Maps) -> tuple[npt.NDArray[np.int32], dict[int, int]]:
        """Maps (H, W, c) of a whole patch -> instance map (H, W), and the type of each id.

        The type of a nucleus is the majority type of its pixels without type 0. It is 0 only if all
        its pixels have type 0, as in TIAToolbox and HoVer-Net. (TIAToolbox's own list omits nuclei
        whose outline has fewer than three corners.)
        """
        result = self.network.postproc(list(maps))[0]
        instances = np.asarray(result["predictions"]).astype(np.int32)
        kinds = np.rint(maps[2][..., 0]).astype(np.intp)
        votes = np.zeros((int(instances.max(initial=0)) + 1, TYPES), np.int64)
        np.add.at(votes, (instances, kinds), 1)
        typed = np.where(votes[:, 1:].any(1), votes[:, 1:].argmax(1) + 1, 0)
        return instances, {int(k): int(typed[k]) for k in np.unique(instances) if k}


def network() -> Any:
    """HoVer-Net in fast mode with random weights."""
    module = _import_tiatoolbox("tiatoolbox.models.architecture.hovernet")
    return module.HoVerNet(num_types=TYPES, mode="fast")


def pretrained_weights() -> Path:
    """Path of the pretrained weights in TIAToolbox's folder; download them if missing."""
    architecture = _import_tiatoolbox("tiatoolbox.models.architecture")
    try:
        return Path(architecture.fetch_pretrained_weights(PRETRAINED))
    except Exception as error:  # the connection, the server and the disk raise various errors
        raise ConfigError(
            f"The weights {PRETRAINED} cannot be downloaded ({first_line(error)}); download the "
            "file on another machine and give it with --weights."
        ) from error


def _import_tiatoolbox(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(INSTALL) from error


def _load(network: torch.nn.Module, path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"There is no weights file {path}; check the path.")
    try:
        if path.suffix == ".safetensors":
            state: dict[str, Any] = load_file(path)
        else:  # weights_only: no code in the file is executed
            state = torch.load(path, map_location="cpu", weights_only=True)
        for wrapper in ("desc", "state_dict"):  # HoVer-Net's own checkpoints use desc
            state = state.get(wrapper, state)
        network.load_state_dict(state)
    except Exception as error:  # the readers raise various errors for invalid files
        raise ConfigError(
            f"{path} contains no weights of {PRETRAINED} ({first_line(error)}); give a file of "
            "that network, in safetensors or as a PyTorch file that contains only tensors."
        ) from error
