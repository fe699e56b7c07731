"""CKA of two ResNet-50s over all 53 + 53 convolutions: ours, torch_cka, the bare passes.

    pip install torch_cka
    python benchmarks/cka_speed.py [--patches 128] [--size 64] [--batch 128] [--repeats 3]

Each way runs in a process of its own, whose peak memory is taken beyond what the networks and the
patches need. Values are held against a float64 reference: networks in float64, Song's estimator
written out as its paper has it.
"""

import argparse
import contextlib
import io
import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from morefromless.analysis.cka import Cka
from morefromless.analysis.layers import convolutions

WAYS = ("passes", "morefromless", "torch_cka", "reference")


class Patches(Dataset[Tensor]):
    """Noise that varies from patch to patch in its mean, as tissue does."""

    def __init__(self, count: int, size: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.rand(count, 3, size, size, generator=generator)
        self.images += torch.rand(count, 3, 1, 1, generator=generator)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def networks() -> dict[str, nn.Module]:
    pair: dict[str, nn.Module] = {}
    for seed, name in enumerate(("a", "b")):
        torch.manual_seed(seed)
        pair[name] = timm.create_model("resnet50", num_classes=0).eval()
    return pair


def passes(pair: dict[str, nn.Module], batches: list[Tensor]) -> None:
    with torch.no_grad():
        for batch in batches:
            for network in pair.values():
                network(batch)


def ours(pair: dict[str, nn.Module], batches: list[Tensor]) -> np.ndarray:
    cka = Cka({name: convolutions(network) for name, network in pair.items()})
    for batch in batches:
        cka.add(pair, dict.fromkeys(pair, batch))
    return cka.between("a", "b").values


def torch_cka(pair: dict[str, nn.Module], batches: list[Tensor]) -> np.ndarray:
    from torch_cka import CKA

    loader = DataLoader(_Tuples(batches), batch_size=None)
    layers = convolutions(pair["a"])
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compared = CKA(pair["a"], pair["b"], "a", "b", layers, layers, device="cpu")
        compared.compare(loader)
        return np.asarray(compared.export()["CKA"])


class _Tuples(Dataset[tuple[Tensor]]):
    """torch_cka takes the first of what a loader yields."""

    def __init__(self, batches: list[Tensor]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[Tensor]:
        return (self.batches[index],)


def reference(pair: dict[str, nn.Module], batches: list[Tensor]) -> np.ndarray:
    """Song et al. 2012, eq. 5, layer by layer in float64."""
    layers = convolutions(pair["a"])
    sums = np.zeros((3, len(layers), len(layers)))
    for batch in batches:
        grams = {
            name: _grams(network.double(), layers, batch.double()) for name, network in pair.items()
        }
        for i in range(len(layers)):
            for j in range(len(layers)):
                k, l = grams["a"][i], grams["b"][j]  # noqa: E741
                sums[:, i, j] += _song(k, l), _song(k, k), _song(l, l)
    return np.asarray(sums[0] / np.sqrt(sums[1] * sums[2]))


def _grams(network: nn.Module, layers: list[str], batch: Tensor) -> list[np.ndarray]:
    grams = []

    def hook(module: nn.Module, given: object, output: Tensor) -> None:
        del module, given
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
    whole = k.sum() * l.sum() / ((n - 1) * (n - 2))
    return float(((k * l).sum() + whole - 2 * k.sum(0) @ l.sum(0) / (n - 2)) / (n * (n - 3)))


def one(way: str, options: argparse.Namespace) -> None:
    """In a process of its own: seconds, MiB beyond what was there, and the values."""
    ways: dict[str, Callable[..., np.ndarray | None]] = {
        "passes": passes,
        "morefromless": ours,
        "torch_cka": torch_cka,
        "reference": reference,
    }
    pair = networks()
    batches = list(torch.split(Patches(options.patches, options.size).images, options.batch))
    first = [batches[0][:4]]
    ways[way](pair, first)  # libraries warm up
    for network in pair.values():
        network.float()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken, values = [], None
    for _ in range(1 if way == "reference" else options.repeats):
        began = time.perf_counter()
        values = ways[way](pair, batches)
        taken.append(time.perf_counter() - began)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    measured = {"seconds": float(np.median(taken)), "mib": (after - before) / 1024}
    if values is not None:
        measured["values"] = values.tolist()
    print(json.dumps(measured))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("patches", 128), ("size", 64), ("batch", 128), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        one(options.way, options)
        return
    measured = {}
    for way in WAYS:
        command = [sys.executable, __file__, "--way", way]
        for name in ("patches", "size", "batch", "repeats"):
            command += [f"--{name}", str(getattr(options, name))]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        measured[way] = json.loads(run.stdout.splitlines()[-1])
    exact, bare = np.array(measured["reference"]["values"]), measured["passes"]["seconds"]
    print(
        f"{options.patches} patches of {options.size} px, batches of {options.batch}, "
        f"{torch.get_num_threads()} threads, 53 x 53 layers"
    )
    print(f"{'':14}{'seconds':>9}{'beyond passes':>15}{'peak MiB':>10}{'largest error':>15}")
    for way in WAYS[:3]:
        result = measured[way]
        off = ""
        if "values" in result:
            off = f"{np.abs(np.array(result['values']) - exact).max():.1e}"
        share = f"{(result['seconds'] - bare) / bare:+.0%}" if way != "passes" else ""
        print(f"{way:14}{result['seconds']:9.2f}{share:>15}{result['mib']:10.0f}{off:>15}")


if __name__ == "__main__":
    main()
