"""Views of a batch: rendering of modalities, and augmentations."""

import os
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks import Call, Row, Stage
from morefromless.modalities.downsample import Downsample
from morefromless.modalities.full import Full
from morefromless.views.authors import Authors
from morefromless.views.table_s1 import TableS1


class Views(Stage):
    """Table S1's augmentations, batched, compared with those of torchvision v2 and kornia.

    torchvision works per patch on uint8 (its faster input type), with one worker process per core;
    kornia works in batches.
    """

    variants = ("size=32", "size=64", "size=224")
    clock = "wall"
    threads = os.cpu_count() or 1

    def __init__(self, size: int = 64, patches: int = 256) -> None:
        self.size, self.count = size, patches
        generator = torch.Generator().manual_seed(0)
        shape = (patches, size, size, 3)
        self.stored = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    @property
    def title(self) -> str:
        return f"Views, {self.size} px, {self.count} patches"

    @property
    def units(self) -> tuple[float, str]:
        return self.count, "views"

    def rows(self) -> list[Row]:
        return [
            Row("morefromless, table-s1", lambda: self._batched(TableS1())),
            Row("morefromless, authors", lambda: self._batched(Authors())),
            Row("morefromless, rendering full", lambda: self._rendering(Full()), compared=False),
            Row(
                "morefromless, rendering downsample:7",
                lambda: self._rendering(Downsample(7)),
                compared=False,
            ),
            Row(f"torchvision v2, {self.threads} workers", self._workers, "torchvision"),
            Row("kornia, batched", self._kornia, "kornia"),
        ]

    def _batched(self, views: TableS1 | Authors) -> Call:
        images = torch.split(Full().render(self.stored, self.size), 64)
        generator = torch.Generator().manual_seed(0)

        def call() -> None:
            for batch in images:
                views.augment(batch, generator)

        return call

    def _rendering(self, modality: Full | Downsample) -> Call:
        batches = torch.split(self.stored, 64)
        return lambda: [modality.render(batch, self.size) for batch in batches]

    def _workers(self) -> Call:
        """An epoch of a typical data set and loader; the worker processes stay between epochs."""
        patches = _Augmented(self.stored.permute(0, 3, 1, 2).contiguous(), _torchvision(self.size))
        loader = DataLoader(patches, 64, num_workers=self.threads, persistent_workers=True)
        return lambda: _exhaust(iter(loader))

    def _kornia(self) -> Call:
        from kornia import augmentation as K

        chain = K.AugmentationSequential(
            K.RandomHorizontalFlip(),
            K.RandomVerticalFlip(),
            K.RandomResizedCrop((self.size,) * 2, scale=(0.75**2, 1), ratio=(1, 1)),
            K.RandomRotation(180, p=0.4),
            K.RandomSolarize(thresholds=(0.5, 1), p=0.3),
            K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=1.0),
            K.RandomGaussianNoise(0, 0.1, p=0.3),
        )
        images = torch.split(Full().render(self.stored, self.size), 64)
        return lambda: _exhaust(map(chain, images))


class _Augmented(Dataset[Tensor]):
    def __init__(self, patches: Tensor, transform: v2.Compose) -> None:
        self.patches, self.transform = patches, transform

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, index: int) -> Tensor:
        view: Tensor = self.transform(self.patches[index])
        return view


def _torchvision(size: int) -> v2.Compose:
    """Table S1 in a typical form: one patch, (3, S, S) uint8 -> float32."""
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomResizedCrop(size, scale=(0.75**2, 1), ratio=(1, 1)),
            v2.RandomApply([v2.RandomRotation(180, v2.InterpolationMode.BILINEAR)], 0.4),
            v2.RandomSolarize(128, 0.3),
            v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
            v2.ToDtype(torch.float32, scale=True),
            v2.RandomApply([v2.GaussianNoise(0, 0.1)], 0.3),
        ]
    )


def _exhaust(batches: Iterator[Tensor]) -> None:
    for _ in batches:
        pass
