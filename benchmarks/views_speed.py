"""Images per second of modalities and views on one core, beside what people would use instead.

    python benchmarks/views_speed.py [--sides 32 64 224] [--batch 128] [--device cpu]

"per image" is torchvision's v2 transforms of about the same distribution, called for every patch
as a data set does it (on uint8 tensors, its quicker kind of input). It is always on the CPU.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torchvision.transforms import v2

from morefromless.modalities import Modality
from morefromless.modalities.downsample import Downsample
from morefromless.modalities.full import Full
from morefromless.views import Views
from morefromless.views.authors import Authors
from morefromless.views.table_s1 import TableS1

STORED = 224


def per_image_views(side: int) -> Callable[[Tensor], Tensor]:
    """Table S1 as one would write it with torchvision: one patch, (3, S, S) uint8 -> float32."""
    transform: Callable[[Tensor], Tensor] = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomResizedCrop(side, scale=(0.75**2, 1), ratio=(1, 1)),
            v2.RandomApply([v2.RandomRotation(180, v2.InterpolationMode.BILINEAR)], 0.4),
            v2.RandomSolarize(128, 0.3),
            v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
            v2.ToDtype(torch.float32, scale=True),
            v2.RandomApply([v2.GaussianNoise(0, 0.1)], 0.3),
        ]
    )
    return transform


def per_image_downsample(size: int, side: int) -> Callable[[Tensor], Tensor]:
    """Down and up again with torchvision: one patch, (3, H, H) uint8 -> float32."""
    transform: Callable[[Tensor], Tensor] = v2.Compose(
        [v2.Resize(size, antialias=True), v2.Resize(side), v2.ToDtype(torch.float32, scale=True)]
    )
    return transform


def rate(batch: int, work: Callable[[], object], device: str, repeats: int = 5) -> float:
    """Images per second, the best of a few repeats: other work on the machine disturbs it least."""
    best = float("inf")
    for _ in range(repeats + 1):  # the first one warms up
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return batch / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64, 224])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device, batch = options.device, options.batch
    generator = torch.Generator(device).manual_seed(0)
    stored = torch.randint(0, 256, (batch, STORED, STORED, 3), dtype=torch.uint8)
    patches = stored.to(device)

    print(f"{'images/s':>24}" + "".join(f"{side:>10} px" for side in options.sides))

    def row(name: str, work: Callable[[int], Callable[[], object]], where: str = device) -> None:
        rates = (rate(batch, work(side), where) for side in options.sides)
        print(f"{name:>24}" + "".join(f"{value:>13,.0f}" for value in rates), flush=True)

    modalities: dict[str, Modality] = {
        "full": Full(),
        "downsample:7": Downsample(7),
        "downsample:7,point": Downsample(7, "point"),
        "downsample:28": Downsample(28),
    }

    def render(modality: Modality, side: int) -> Callable[[], object]:
        return lambda: modality.render(patches, side)

    for name, modality in modalities.items():
        row(name, partial(render, modality))

    def downsample_per_image(side: int) -> Callable[[], object]:
        transform = per_image_downsample(7, side)
        images = stored.permute(0, 3, 1, 2)
        return lambda: torch.stack([transform(image) for image in images])

    row("7 px per image", downsample_per_image, "cpu")

    presets: dict[str, Views] = {"table-s1": TableS1(), "authors": Authors()}

    def augment(views: Views, side: int) -> Callable[[], object]:
        images = Full().render(patches, side)
        return lambda: views.augment(images, generator)

    for name, views in presets.items():
        row(name, partial(augment, views))

    def views_per_image(side: int) -> Callable[[], object]:
        transform = per_image_views(side)
        images = (Full().render(stored, side) * 255).to(torch.uint8)
        return lambda: torch.stack([transform(image) for image in images])

    row("table-s1 per image", views_per_image, "cpu")


if __name__ == "__main__":
    main()
