"""Forward and backward pass of an objective: VICReg with the N x N Gram matrix, and SimCLR."""

from collections.abc import Callable
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from benchmarks import Call, Row, Stage
from morefromless.objectives.simclr import SimCLR
from morefromless.objectives.vicreg import VICReg

Loss = Callable[[list[Tensor]], Tensor]


class Objectives(Stage):
    """Two branches of the paper's size. `scale` makes one dimension larger than the others, which
    costs precision in float32. The error of the gradient is against the plain form in float64."""

    variants = ("vicreg", "simclr")
    memory = True
    figure = "error of the gradient"

    def __init__(
        self,
        objective: Literal["vicreg", "simclr"] = "vicreg",
        rows: int = 128,
        width: int = 8192,
        scale: float = 1.0,
    ) -> None:
        self.objective, self.count, self.width = objective, rows, width
        generator = torch.Generator().manual_seed(0)
        self.z = [torch.randn(rows, width, generator=generator) for _ in range(2)]
        for branch in self.z:
            branch[:, 0] *= scale
            branch.requires_grad_()

    @property
    def title(self) -> str:
        return f"{self.objective}, forward and backward, {self.count} x {self.width}, two branches"

    @property
    def units(self) -> tuple[float, str]:
        return 1, "losses"

    def rows(self) -> list[Row]:
        if self.objective == "simclr":
            return [self._row("morefromless", _simclr), self._row("lightly", _nt_xent, "lightly")]
        return [
            self._row("morefromless", _vicreg),
            self._row("plain, D x D covariance", lambda: plain_vicreg),
            self._row("lightly", _lightly_vicreg, "lightly"),
            self._row("stable-pretraining", _stable_vicreg, "stable-pretraining"),
        ]

    def _row(self, name: str, loss: Callable[[], Loss], package: str | None = None) -> Row:
        def prepare() -> Call:
            function = loss()
            return lambda: torch.autograd.grad(function(self.z), self.z)

        return Row(name, prepare, package, lambda: self._error(loss()))

    @cached_property
    def exact(self) -> Tensor:
        """The gradient of the plain form in float64."""
        plain = plain_vicreg if self.objective == "vicreg" else _simclr()
        double = [z.detach().double().requires_grad_() for z in self.z]
        return torch.cat(torch.autograd.grad(plain(double), double))

    def _error(self, loss: Loss) -> str:
        gradient = torch.cat(torch.autograd.grad(loss(self.z), self.z))
        return f"{(gradient - self.exact).norm() / self.exact.norm():.0e}"


def plain_vicreg(z: list[Tensor]) -> Tensor:
    """The official loss of two branches, computed directly from its formula."""
    total = 25 * (z[0] - z[1]).square().mean()
    for branch in z:
        centred = branch - branch.mean(dim=0)
        covariance = centred.T @ centred / (len(branch) - 1)
        off_diagonal = covariance - torch.diag(covariance.diagonal())
        total = total + 12.5 * torch.relu(1 - (branch.var(dim=0) + 1e-4).sqrt()).mean()
        total = total + off_diagonal.square().sum() / branch.shape[1]
    return total


def _vicreg() -> Loss:
    objective = VICReg()
    return lambda z: objective(z).total


def _simclr() -> Loss:
    objective = SimCLR()
    return lambda z: objective(z).total


def _lightly_vicreg() -> Loss:
    from lightly.loss import VICRegLoss

    objective = VICRegLoss()
    return lambda z: objective(*z)


def _stable_vicreg() -> Loss:
    from stable_pretraining.losses import VICRegLoss

    objective = VICRegLoss()
    return lambda z: objective(*z)


def _nt_xent() -> Loss:
    from lightly.loss import NTXentLoss

    objective = NTXentLoss(temperature=0.5)
    return lambda z: objective(*z)
