"""An objective in a module with the name of a module of morefromless."""

from torch import Tensor

from morefromless.encoders import Encoder
from morefromless.objectives import Loss
from tests.outside.lab import LabLoss


class Mine(LabLoss):
    """An objective with untyped parameters, as in many scripts."""

    def __init__(self, weight=1.0, rows=2, fast=True, name="a", other=None) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.values = (weight, rows, fast, name, other)

    def compute(self, embeddings: list[Tensor]) -> Loss:
        return Loss(self.values[0] * self.squares(embeddings), {})


class Listed(Mine):
    """An objective with a list of weights."""

    def __init__(self, weights: list[float] | None = None) -> None:
        super().__init__()
        self.weights = weights


class NoWidth(Encoder):
    """An encoder without the required attribute `width`."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))
