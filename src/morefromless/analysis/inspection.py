"""Inspect an encoder on one patch: its input, class, GradCAM and nearest training patches."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import normalize

from morefromless.analysis.layers import last_gradcam_layer
from morefromless.analysis.overlay import Pictures, overlay_cams, pictures, to_pictures
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.evaluation.calibration import CalibratedProbe
from morefromless.evaluation.frozen import Classifier, FrozenEncoder
from morefromless.pairs import build_modality
from morefromless.tasks import build_task

SIDE = 224
"""Side in px of the pictures."""
NEIGHBOURS = 6
"""Number of training patches that are shown next to a patch."""


@dataclass(frozen=True, eq=False)
class Neighbour:
    """A training patch near the inspected patch."""

    id: str
    label: str
    distance: float
    """Euclidean distance between features of unit length, from 0 to 2."""
    picture: Pictures
    """(SIDE, SIDE, 3): the whole patch."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """Result of an encoder for one patch; pictures are (SIDE, SIDE, 3)."""

    input: Pictures
    """The encoder's input."""
    gradcam: Pictures | None
    """GradCAM of the prediction; None for an encoder without feature maps."""
    probabilities: dict[str, float]
    """Calibrated probability of each class, the most probable class first."""
    outlier_percentile: float
    """Percentage of held-out training patches that are nearer to the training patches."""
    neighbours: Sequence[Neighbour]
    """The nearest training patches, nearest first; empty without a store."""


class Inspector:
    """Inspect patches one by one, with an encoder, its probe and its training patches.

    Thread-safe. Raises `ConfigError` if the encoder does not take RGB images.
    """

    def __init__(
        self,
        frozen: FrozenEncoder,
        probe: CalibratedProbe,
        store: Store | None = None,
        task: str = "tissue",
        device: str = "cpu",
    ) -> None:
        if not frozen.modality.colour:
            raise ConfigError(
                f"The encoder takes {frozen.modality_spec}, but an image file contains RGB; give "
                "an encoder of RGB patches, such as one of full or downsample:7."
            )
        self.frozen, self.probe, self.device = frozen, probe, device
        self.classifier = Classifier(frozen.encoder, probe.probe).to(device).eval()
        self.store = store and store.select(frozen.modality, task=build_task(task))
        if self.store:
            features = frozen.features(self.store, "train", device, "features of training patches")
            self._training = normalize(features, dim=1)
        self._lock = Lock()  # GradCAM registers hooks on the network

    def __call__(self, patch: npt.NDArray[np.uint8]) -> Inspection:
        """Inspect a patch (H, H, 3)."""
        with self._lock:
            frozen = self.frozen
            images = frozen.inputs(torch.from_numpy(patch[None].copy()).to(self.device))
            with torch.no_grad():
                features = frozen.encoder(images).float().cpu()
            (probabilities,) = self.probe.probabilities(features)
            layer = last_gradcam_layer(frozen.encoder, images)
            cams = layer and overlay_cams(self.classifier, frozen.modality, images, [layer], SIDE)
        return Inspection(
            input=to_pictures(frozen.modality, images.cpu(), SIDE)[0],
            gradcam=cams[layer][0] if layer and cams else None,
            probabilities={
                self.probe.classes[k]: float(probabilities[k])
                for k in probabilities.argsort(descending=True).tolist()
            },
            outlier_percentile=float(self.probe.outlier_percentile(features)),
            neighbours=self._neighbours(features),
        )

    def _neighbours(self, features: torch.Tensor) -> list[Neighbour]:
        store = self.store
        if store is None:
            return []
        distances = torch.cdist(normalize(features, dim=1), self._training)[0]
        count = min(NEIGHBOURS, len(distances))
        nearest = distances.topk(count, largest=False)
        rows = store.indices("train")[nearest.indices.numpy()]
        array = self.frozen.modality.array
        side = store.array(array).shape[1]
        neighbour_pictures = pictures(build_modality(f"full:{array}"), store, rows, side, SIDE)
        return [
            Neighbour(
                str(store.table["id"].iloc[row]),
                store.classes[store.labels[row]],
                float(d),
                picture,
            )
            for row, d, picture in zip(rows, nearest.values, neighbour_pictures, strict=True)
        ]
