"""CKA between all layers of two networks."""

import contextlib
import io
import warnings
from collections.abc import Callable
from functools import cached_property

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import Call, Row, Stage
from morefromless.analysis.cka import Cka
from morefromless.analysis.layers import convolutions

Method = Callable[[dict[str, nn.Module], list[Tensor]], np.ndarray]


class CKA(Stage):
    """All convolutions of one network against all of another with the same architecture, compared
    with torch_cka and with the forward passes alone. The error is the largest over all pairs,
    against Song's estimator in float64."""

    variants = ("resnet18",)
    memory = True
    figure = "largest error"

    def __init__(
        self, network: str = "resnet18", patches: int = 128, size: int = 64, batch: int = 128
    ) -> None:
        self.network, self.size = network, size
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(patches, 3, size, size, generator=generator)
        images += torch.rand(patches, 3, 1, 1, generator=generator)  # patches differ in their mean
        self.batches = list(torch.split(images, batch))

    @property
    def title(self) -> str:
        batch, patches = len(self.batches[0]), sum(map(len, self.batches))
        return f"CKA of two {self.network}, {patches} patches of {self.size} px, batches of {batch}"

    @property
    def units(self) -> tuple[float, str]:
        return sum(map(len, self.batches)), "patches"

    @cached_property
    def networks(self) -> dict[str, nn.Module]:
        pair: dict[str, nn.Module] = {}
        for seed, name in enumerate(("a", "b")):
            torch.manual_seed(seed)
            pair[name] = timm.create_model(self.network, num_classes=0).eval()
        return pair

    @cached_property
    def exact(self) -> np.ndarray:
        """Song et al. 2012, eq. 5, layer by layer in float64."""
        names = convolutions(self.networks["a"])
        sums = np.zeros((3, len(names), len(names)))
        double = {name: network.double() for name, network in self.networks.items()}
        for batch in self.batches:
            grams = {
                name: _grams(network, names, batch.double()) for name, network in double.items()
            }
            for i, first in enumerate(grams["a"]):
                for j, second in enumerate(grams["b"]):
                    pairs = ((first, second), (first, first), (second, second))
                    sums[:, i, j] += [_song(*pair) for pair in pairs]
        for network in self.networks.values():
            network.float()
        return np.asarray(sums[0] / np.sqrt(sums[1] * sums[2]))

    def rows(self) -> list[Row]:
        return [
            self._row("morefromless", lambda: _ours),
            Row("the two forward passes alone", self._passes),
            self._row("torch_cka", _torch_cka, "torch_cka"),
        ]

    def _row(
        self, name: str, build_method: Callable[[], Method], package: str | None = None
    ) -> Row:
        def prepare() -> Call:
            function = build_method()
            return lambda: function(self.networks, self.batches)

        def figure() -> str:
            values = build_method()(self.networks, self.batches)
            return f"{np.abs(values - self.exact).max():.1e}"

        return Row(name, prepare, package, figure)

    def _passes(self) -> Call:
        @torch.no_grad()
        def call() -> None:
            for batch in self.batches:
                for network in self.networks.values():
                    network(batch)

        return call


def _ours(pair: dict[str, nn.Module], batches: list[Tensor]) -> np.ndarray:
    cka = Cka({name: convolutions(network) for name, network in pair.items()})
    for batch in batches:
        cka.add(pair, dict.fromkeys(pair, batch))
    return cka.between("a", "b")


def _torch_cka() -> Method:
    from torch_cka import CKA as TorchCKA

    def compared(pair: dict[str, nn.Module], batches: list[Tensor]) -> np.ndarray:
        patches = TensorDataset(torch.cat(batches))
        loader = DataLoader(patches, len(batches[0]))
        layers = convolutions(pair["a"])
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch_cka = TorchCKA(pair["a"], pair["b"], "a", "b", layers, layers, device="cpu")
            torch_cka.compare(loader)
            return np.asarray(torch_cka.export()["CKA"])

    return compared


def _grams(network: nn.Module, layers: list[str], batch: Tensor) -> list[np.ndarray]:
    grams = []

    def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
        del module, inputs
        flat = output.flatten(1)
        product = (flat @ flat.T).numpy()
        np.fill_diagonal(product, 0)
        grams.append(product)

    handles = [network.get_submodule(name).register_forward_hook(hook) for name in layers]
    with torch.no_grad():
        network(batch)
    for handle in handles:
        handle.remove()
    return grams


def _song(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    n = len(k)
    product_of_sums = k.sum() * l.sum() / ((n - 1) * (n - 2))
    return float(
        ((k * l).sum() + product_of_sums - 2 * k.sum(0) @ l.sum(0) / (n - 2)) / (n * (n - 3))
    )
