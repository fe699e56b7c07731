"""What VICReg's Gram form saves, and what it costs in digits, at the paper's size.

    python benchmarks/objectives_speed.py [--rows 128] [--width 8192] [--repeats 5] [--device cpu]

Times forward and backward of this package's objectives beside the plain form that builds the
D x D covariance of each branch, taking turns in one process, and beside lightly's where it is
installed. Then holds the covariance term and its gradient in float32 against float64.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from morefromless.objectives.simclr import SimCLR
from morefromless.objectives.vicreg import VICReg, redundancy
from morefromless.training.diagnostics import effective_rank, spread

Loss = Callable[[list[Tensor]], Tensor]


def plain_vicreg(z: list[Tensor]) -> Tensor:
    """The official loss of two branches, as its formula is written."""
    total = 25 * (z[0] - z[1]).square().mean()
    for branch in z:
        centred = branch - branch.mean(dim=0)
        total = total + 12.5 * torch.relu(1 - (branch.var(dim=0) + 1e-4).sqrt()).mean()
        total = total + plain_redundancy(centred, len(branch) - 1)
    return total


def plain_redundancy(centred: Tensor, degrees: int) -> Tensor:
    covariance = centred.T @ centred / degrees
    off_diagonal = covariance - torch.diag(covariance.diagonal())
    return off_diagonal.square().sum() / centred.shape[1]


def contenders() -> dict[str, Loss]:
    vicreg, simclr = VICReg(), SimCLR()
    losses: dict[str, Loss] = {
        "VICReg, plain D x D": plain_vicreg,
        "VICReg, morefromless": lambda z: vicreg(z).total,
        "SimCLR, morefromless": lambda z: simclr(z).total,
    }
    try:
        from lightly.loss import NTXentLoss, VICRegLoss  # type: ignore[import-not-found]
    except ImportError:
        print("lightly is not installed: its losses are left out.")
    else:
        theirs, contrastive = VICRegLoss(), NTXentLoss(temperature=0.5)
        losses["VICReg, lightly"] = lambda z: theirs(*z)
        losses["SimCLR, lightly"] = lambda z: contrastive(*z)
    return losses


def seconds(work: Callable[[], object], device: torch.device) -> float:
    def settle() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    settle()
    start = time.perf_counter()
    work()
    settle()
    return time.perf_counter() - start


def speed(z: list[Tensor], repeats: int) -> None:
    device = z[0].device
    losses = contenders()

    def both_ways(loss: Loss) -> None:
        torch.autograd.grad(loss(z), z)

    for loss in losses.values():  # warm-up
        both_ways(loss)
    times: dict[str, list[float]] = {name: [] for name in losses}
    for _ in range(repeats):
        for name, loss in losses.items():
            times[name].append(seconds(partial(both_ways, loss), device))
    for name, measured in times.items():
        print(f"  {name:<24}{1e3 * statistics.median(measured):9.2f} ms forward and backward")
    for diagnostic in (spread, effective_rank):
        diagnostic(z[0])
        measured = [seconds(partial(diagnostic, z[0]), device) for _ in range(repeats)]
        print(f"  {diagnostic.__name__:<24}{1e3 * statistics.median(measured):9.2f} ms")


def digits(rows: int, width: int, device: torch.device) -> None:
    """Relative error in float32 of value and gradient, against the plain form in float64."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    scale = torch.randn(width, generator=generator, dtype=torch.float64)
    low_rank = torch.randn(rows, 4, generator=generator, dtype=torch.float64) @ torch.randn(
        4, width, generator=generator, dtype=torch.float64
    )
    cases = {
        "independent, equal scales": noise,
        "the same around 1000": noise + 1000,
        "scales from 0.05 to 20": noise * scale.exp(),
        "rank 4 and a little noise": low_rank + 0.01 * noise,
        "one dimension 30 times larger": noise * torch.where(torch.arange(width) == 0, 30, 1),
        "one dimension 1000 times": noise * torch.where(torch.arange(width) == 0, 1000, 1),
    }
    for name, case in cases.items():
        single = case.to(device, torch.float32)
        exact, exact_gradient = _value_and_gradient(plain_redundancy, single.double())
        line = f"  {name:<32}"
        for form in (redundancy, plain_redundancy):
            value, gradient = _value_and_gradient(form, single)
            off = abs(value / exact - 1)
            gradient_off = ((gradient - exact_gradient).norm() / exact_gradient.norm()).item()
            line += f"{off:10.1e}{gradient_off:10.1e}"
        print(line)


def _value_and_gradient(
    form: Callable[[Tensor, int], Tensor], embedding: Tensor
) -> tuple[float, Tensor]:
    z = embedding.detach().requires_grad_()
    value = form(z - z.mean(dim=0), len(z) - 1)
    return value.item(), torch.autograd.grad(value, z)[0].double()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--width", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    z = [
        torch.randn(options.rows, options.width, device=device, requires_grad=True)
        for _ in range(2)
    ]
    print(
        f"{options.rows} x {options.width}, two branches, float32, {device}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    speed(z, options.repeats)
    print("Covariance term in float32, relative error of value and gradient:")
    print(f"  {'':<32}{'morefromless':>20}{'plain D x D':>20}")
    digits(options.rows, options.width, device)


if __name__ == "__main__":
    main()
