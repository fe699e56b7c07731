"""Centred kernel alignment (CKA): how similar two layers' features of the same patches are.

All kernels are linear. Sources: Kornblith et al. 2019 (biased, one batch); Song et al. 2012 and
Nguyen et al. 2021, eq. 3 (unbiased, from minibatches: HSIC is summed over all batches before the
ratio is computed).
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg.blas import dsyrk, ssyrk
from torch import Tensor, nn

from morefromless.analysis.layers import forward_hooks
from morefromless.errors import ConfigError, DataError

Estimator = Literal["unbiased", "biased"]
FEATURES_PER_BLOCK = 8192
"""Features that are centred and multiplied in one step, so that they stay in the CPU cache."""


def gram(features: Tensor, estimator: Estimator = "unbiased") -> tuple[Tensor, bool]:
    """Return the centred Gram matrix of a layer, (N, ...) -> (N, N) float64, and whether features
    vary.

    The HSIC of two layers is the sum of the elementwise product of two such matrices, up to a
    factor that cancels in CKA. Unbiased matrices are U-centred (Székely and Rizzo), which equals
    Song's estimator, and need N >= 4. Biased matrices are centred.

    Features are centred before multiplication. Features of a barely trained network differ so
    little between patches that a float32 Gram matrix of raw features would be rounding noise. In
    exact arithmetic, this centring changes neither estimator. Products are summed in float64.
    """
    rows = len(features)
    if features.ndim == 4 and features.is_contiguous(memory_format=torch.channels_last):
        # CKA does not depend on the order of features; this order avoids a copy.
        features = features.permute(0, 2, 3, 1)
    flat = features.detach().flatten(1)
    flat = flat if flat.dtype in (torch.float32, torch.float64) else flat.float()
    products = torch.zeros(rows, rows, dtype=torch.float64, device=flat.device)
    offset = torch.zeros((), dtype=torch.float64, device=flat.device)
    for block in torch.split(flat, FEATURES_PER_BLOCK, dim=1):
        mean = block.mean(dim=0)
        products += _product(block - mean)
        offset += mean.square().sum(dtype=torch.float64)
    products = products.triu() + products.triu(diagonal=1).T
    spread = products.diagonal().mean()
    min_spread = (16 * torch.finfo(flat.dtype).eps) ** 2 * offset
    return _centre(products, estimator), bool(spread > min_spread)


def _product(features: Tensor) -> Tensor:
    """Inner products of rows, (N, D) -> (N, N); only the upper triangle is guaranteed."""
    if features.device.type != "cpu":
        return features @ features.T
    # BLAS has a product for symmetric results with half the work; PyTorch does not expose it.
    multiply = ssyrk if features.dtype == torch.float32 else dsyrk
    return torch.from_numpy(multiply(1.0, features.numpy().T, trans=1))


def _centre(products: Tensor, estimator: Estimator) -> Tensor:
    n = len(products)
    if estimator == "biased":
        means = products.mean(dim=0)
        return products - means[:, None] - means[None, :] + means.mean()
    products.fill_diagonal_(0)
    sums = products.sum(dim=0)
    total = sums.sum() / ((n - 1) * (n - 2))
    products -= (sums[:, None] + sums[None, :]) / (n - 2) - total
    return products.fill_diagonal_(0)


class Cka:
    """CKA between all layers of all networks, accumulated batch by batch.

    Gram matrices are computed during the forward pass, so at most one layer's activations are kept
    in addition to what the pass needs. Each batch produces (layers, N, N) per network, and one
    matrix product computes all pairs of layers.
    """

    def __init__(
        self, layers: Mapping[str, Sequence[str]], estimator: Estimator = "unbiased"
    ) -> None:
        self.layers = {network: tuple(names) for network, names in layers.items()}
        self.estimator = estimator
        self.batches: list[int] = []
        self._varies = {
            (network, name): False for network, names in self.layers.items() for name in names
        }
        self.hsic: Tensor | None = None
        """HSIC of all pairs of layers, in the order of `layers`, summed over the batches."""

    @torch.no_grad()
    def add(self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor]) -> None:
        """Accumulate one batch: `batch` maps each network to its input, for the same patches.

        Networks run in evaluation mode. Raises `ConfigError` if the batch is too small or a layer
        does not run.
        """
        grams: dict[tuple[str, str], Tensor] = {}
        for network, names in self.layers.items():
            training = networks[network].training
            networks[network].eval()

            def collect(name: str, output: Tensor, network: str = network) -> None:
                grams[network, name] = self._gram(network, name, output)

            with forward_hooks(networks[network], names, collect):
                networks[network](batch[network])
            networks[network].train(training)
            absent = [name for name in names if (network, name) not in grams]
            if absent:
                raise ConfigError(
                    f"Layer '{absent[0]}' of {network} does not run in the forward pass of an "
                    "image; exclude it."
                )
        self._add(grams)

    def add_features(self, features: Mapping[tuple[str, str], Tensor]) -> None:
        """Accumulate one batch of activations (N, ...) by network and layer."""
        self._add({key: self._gram(*key, features[key]) for key in self._varies})

    def between(
        self, a: str, b: str, layers: Mapping[str, Sequence[str]] | None = None
    ) -> npt.NDArray[np.float64]:
        """CKA of the layers of network `a` with those of `b`: (layers of a, layers of b).

        `layers` selects a subset of each network's layers. Unbiased values may be slightly below 0
        or above 1. Raises `DataError` if a layer's features are constant: its CKA is 0 / 0.
        """
        selected = self.layers if layers is None else layers
        if self.hsic is None:
            raise DataError("No batch has been added, so there is no CKA.")
        for network in (a, b):
            constant = [name for name in self.constant(network) if name in selected[network]]
            if constant:
                raise DataError(
                    f"Layer '{constant[0]}' of {network} has the same features for all patches, so "
                    f"its CKA is undefined ({len(constant)} such layers); exclude it."
                )
        index_of = {key: index for index, key in enumerate(self._varies)}
        rows = [index_of[a, name] for name in selected[a]]
        columns = [index_of[b, name] for name in selected[b]]
        norms = self.hsic.diagonal().sqrt()
        values = self.hsic[rows][:, columns] / norms[rows][:, None] / norms[columns][None, :]
        return values.cpu().numpy()

    def constant(self, network: str) -> list[str]:
        """Layers whose features did not vary in any batch."""
        return [name for name in self.layers[network] if not self._varies[network, name]]

    def _gram(self, network: str, name: str, output: Tensor) -> Tensor:
        min_patches = 4 if self.estimator == "unbiased" else 2
        if len(output) < min_patches:
            raise ConfigError(
                f"{self.estimator} CKA needs batches of {min_patches} patches or more, "
                f"not {len(output)}."
            )
        centred, varies = gram(output, self.estimator)
        self._varies[network, name] |= varies
        return centred

    def _add(self, grams: Mapping[tuple[str, str], Tensor]) -> None:
        if self.estimator == "biased" and self.batches:
            raise ConfigError("biased CKA uses one batch of all patches; add a single batch.")
        stacked = torch.stack([grams[key].flatten() for key in self._varies])
        size = grams[next(iter(self._varies))].shape[0]
        self.batches.append(size)
        # Division by n (n - 3), or by (n - 1)^2, gives the HSIC itself. The factor cancels for
        # batches of equal size, and gives a smaller last batch the same weight as the others.
        scale = size * (size - 3) if self.estimator == "unbiased" else (size - 1) ** 2
        products = (stacked @ stacked.T) / scale
        self.hsic = products if self.hsic is None else self.hsic + products


def cka(x: Tensor, y: Tensor, estimator: Estimator = "unbiased") -> float:
    """CKA of two layers' features of the same patches, (N, ...) each, as one batch.

    Raises `DataError` if the features of one layer are constant.

    >>> x = torch.randn(16, 5, generator=torch.Generator().manual_seed(0))
    >>> round(cka(x, 3 * x.flip(1)), 6)
    1.0
    """
    accumulator = Cka({"x": ["x"], "y": ["y"]}, estimator)
    accumulator.add_features({("x", "x"): x, ("y", "y"): y})
    return float(accumulator.between("x", "y")[0, 0])
