"""Macenko's stain normalisation, in batches and per patch."""

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from benchmarks import Call, Row, Stage
from morefromless.data.images import list_images, read_rgb
from morefromless.modalities.macenko import Macenko
from morefromless.stain import estimate
from morefromless.synthesis import DRAWINGS, Patient, Rng, draw

Images = list[Tensor | None]
"""Normalised patches (H, W, 3), 0-255, or None if the normalisation failed."""
Method = Callable[[Tensor], Images]


class Stain(Stage):
    """Patches of `folder`, or drawn patches. torchstain and TIAToolbox are called per patch, as
    their users do. TIAToolbox normalises to one of the patches, because it has no reference.

    The figures are standard deviations, over patches, of the strengths of hematoxylin and eosin,
    divided by their means. They use our estimate in float64, which favours the first row. Patches
    that our method does not change are excluded from the figures.
    """

    figure = "spread of hematoxylin, eosin"

    def __init__(self, folder: str = "", patches: int = 128, size: int = 112) -> None:
        self.folder, self.count, self.size = folder, patches, size

    @property
    def title(self) -> str:
        where = "patches of a folder" if self.folder else f"drawn patches of {self.size} px"
        spread = _spread(self.patches[self.has_stains])
        return f"Macenko's normalisation, {self.count} {where}; their spread as they are: {spread}"

    @property
    def units(self) -> tuple[float, str]:
        return self.count, "patches"

    @cached_property
    def patches(self) -> Tensor:
        """(N, H, W, 3) uint8."""
        if self.folder:
            folder = Path(self.folder)
            names = list_images(folder)[0]
            chosen = names[:: max(1, len(names) // self.count)][: self.count]
            images = [read_rgb(folder / name) for name in chosen]
        else:
            tissues = [name for name in DRAWINGS if name not in ("ADI", "BACK")]
            images = [
                draw(tissues[i % 7], Patient.sample(Rng(0, 0, i)), Rng(0, 1, i), self.size).image
                for i in range(self.count)
            ]
        return torch.from_numpy(np.stack(images))

    @cached_property
    def has_stains(self) -> Tensor:
        """(N,) bool: whether a patch has two stains."""
        return ~Macenko().unchanged(self.patches)

    def rows(self) -> list[Row]:
        target = self.patches[self.has_stains][0]
        return [
            self._row("morefromless, luminosity", partial(_ours, "luminosity")),
            self._row("morefromless, density", partial(_ours, "density")),
            self._row("torchstain, torch", partial(_torchstain, "torch"), "torchstain"),
            self._row("torchstain, numpy", partial(_torchstain, "numpy"), "torchstain"),
            self._row("TIAToolbox", partial(_tiatoolbox, target), "tiatoolbox"),
        ]

    def _row(
        self, name: str, build_method: Callable[[], Method], package: str | None = None
    ) -> Row:
        def prepare() -> Call:
            normalise = build_method()
            return lambda: normalise(self.patches)

        def figure() -> str:
            images = zip(build_method()(self.patches), self.has_stains, strict=True)
            return _spread(
                torch.stack([i for i, has_stains in images if has_stains and i is not None])
            )

        return Row(name, prepare, package, figure)


def _ours(convention: Literal["luminosity", "density"]) -> Method:
    modality = Macenko(convention=convention)

    def normalise(patches: Tensor) -> Images:
        images: Images = []
        for batch in torch.split(patches, 64):
            rendered = modality.render(batch, batch.shape[1]).permute(0, 2, 3, 1)
            images += (rendered * 255).unbind()
        return images

    return normalise


def _torchstain(backend: str) -> Method:
    import torchstain

    normalizer: Any = torchstain.normalizers.MacenkoNormalizer(backend=backend)

    def normalise(patch: Tensor) -> Tensor:
        given: Any = patch.permute(2, 0, 1) if backend == "torch" else patch.numpy()
        return torch.as_tensor(normalizer.normalize(I=given, stains=False)[0]).float()

    return partial(_one_by_one, normalise)


def _tiatoolbox(target: Tensor) -> Method:
    from tiatoolbox.tools.stainnorm import get_normalizer

    normalizer: Any = get_normalizer("macenko")
    normalizer.fit(target.numpy())
    return partial(_one_by_one, lambda patch: torch.from_numpy(normalizer.transform(patch.numpy())))


def _one_by_one(normalise: Callable[[Tensor], Tensor], patches: Tensor) -> Images:
    images: Images = []
    for patch in patches:
        try:
            image = normalise(patch).float()
        except Exception:  # a singular matrix, or no pixels to compute eigenvectors from
            images.append(None)
            continue
        images.append(image if image.isfinite().all() else None)
    return images


def _spread(patches: Tensor) -> str:
    """Standard deviation of both strengths over patches, divided by their means."""
    stains = estimate(patches.double())
    strengths = stains.strengths[stains.usable]
    hematoxylin, eosin = strengths.std(0) / strengths.mean(0)
    return f"{hematoxylin:.2f}, {eosin:.2f}"
