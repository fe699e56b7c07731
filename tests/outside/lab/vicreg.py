"""An objective in a module that is called as one of the package's own."""

from torch import Tensor

from morefromless.encoders import Encoder
from morefromless.objectives import Loss
from tests.outside.lab import LabLoss


class Mine(LabLoss):
    """Its parameters have no types, as in many a script."""

    def __init__(self, weight=1.0, rows=2, fast=True, name="a", other=None) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.values = (weight, rows, fast, name, other)

    def compute(self, embeddings: list[Tensor]) -> Loss:
        return Loss(self.values[0] * self.squares(embeddings), {})


class Listed(Mine):
    """Its weights are a list."""

    def __init__(self, weights: list[float] | None = None) -> None:
        super().__init__()
        self.weights = weights


class NoWidth(Encoder):
    """It does not say how long its representation is."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))
