"""Additions by users: members of the open sets from outside the package."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from morefromless.data.store import Store
from morefromless.encoders import Encoder
from morefromless.modalities import Modality
from morefromless.objectives import Loss, Objective
from morefromless.tasks import Task
from morefromless.views import Views


class Distance(Objective):
    """Mean squared distance of two branches, times `weight`."""

    n_branches = 2

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def compute(self, embeddings: list[Tensor]) -> Loss:
        distance = (embeddings[0] - embeddings[1]).square().mean()
        return Loss(self.weight * distance, {"distance": distance})


class Pooled(Encoder):
    """A linear layer on the mean colour."""

    def __init__(self, width: int = 4, channels: int = 3) -> None:
        super().__init__()
        self.width = width
        self.layer = nn.Linear(channels, width)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layer(images.mean((2, 3)))
        return features


class Grey(Modality):
    """One channel: the mean of the stored ones."""

    array = "he"

    @property
    def channels(self) -> int:
        return 1

    def render(self, patches: Tensor, size: int) -> Tensor:
        images = patches.float().mean(3)[:, None] / 255
        return nn.functional.interpolate(images, size, mode="bilinear")

    def to_rgb(self, rendered: Tensor) -> Tensor:
        return rendered.expand(-1, 3, -1, -1)

    def resolution(self, side: int) -> int:
        return side


class Bytes(Grey):
    """An invalid modality: its images are not in [0, 1]."""

    def render(self, patches: Tensor, size: int) -> Tensor:
        return 255 * super().render(patches, size)


class Halved(Grey):
    """An invalid modality: its images have half the requested size."""

    def render(self, patches: Tensor, size: int) -> Tensor:
        return super().render(patches, size // 2)


class Bare(Objective):
    """An invalid objective: it returns a tensor instead of a `Loss`."""

    def compute(self, embeddings: list[Tensor]) -> Loss:
        return embeddings[0].mean()  # type: ignore[return-value]


class Rows(Objective):
    """An invalid objective: it returns one loss per row."""

    def compute(self, embeddings: list[Tensor]) -> Loss:
        return Loss(embeddings[0].mean(1), {})


class Mirror(Views):
    """Random horizontal flips."""

    def augment(self, patches: Tensor, generator: torch.Generator) -> Tensor:
        flips = torch.rand(len(patches), generator=generator) < 0.5
        return torch.where(flips[:, None, None, None], patches.flip(3), patches)


class Bright(Task):
    """Whether a patch is brighter than the median."""

    def labels(self, store: Store) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        means = store.array("he").mean((1, 2, 3))
        return ("dark", "bright"), (means > np.median(means)).astype(np.int64)
