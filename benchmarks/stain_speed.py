"""Macenko normalisation: patches per second and value, beside torchstain.

    python benchmarks/stain_speed.py FOLDER [--patches 256] [--batch 64] [--device cpu]

Seconds are those of the processor, so that other work on the machine disturbs them little; on a
GPU, those of the clock. FOLDER holds H&E patches of one size. torchstain (pip install torchstain)
is called patch by patch, as its users do; without it its rows say so. Value is how much patches
still differ in their stains afterwards: the standard deviation over patches of the strength of
hematoxylin and of eosin, as a share of the mean, by our estimate in float64. "failed" counts
patches that raise an error or come out with values that are no numbers. Patches that ours leaves
as they are stay out of the spread of every row.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morefromless.data.images import image_files, read_rgb
from morefromless.modalities.macenko import Macenko
from morefromless.stain import estimate

Way = Callable[[Tensor], list[Tensor | None]]
"""Patches (N, H, W, 3) uint8 -> each normalised, 0-255, or None where that failed."""


def ours(convention: str, batch: int, device: str) -> Way:
    how = Macenko(convention=convention)  # type: ignore[arg-type]

    def normalise(patches: Tensor) -> list[Tensor | None]:
        rendered: list[Tensor | None] = []
        for start in range(0, len(patches), batch):
            part = patches[start : start + batch].to(device)
            rendered += (how.render(part, part.shape[1]).permute(0, 2, 3, 1) * 255).cpu().unbind()
        return rendered

    return normalise


def torchstain(backend: str) -> Way | None:
    try:
        import torchstain
    except ImportError:
        return None
    normalizer: Any = torchstain.normalizers.MacenkoNormalizer(backend=backend)

    def normalise(patches: Tensor) -> list[Tensor | None]:
        changed: list[Tensor | None] = []
        for patch in patches:
            given: Any = patch.permute(2, 0, 1) if backend == "torch" else patch.numpy()
            try:
                image = torch.as_tensor(normalizer.normalize(I=given, stains=False)[0]).float()
            except Exception:  # a singular matrix, or nothing to take eigenvectors of
                changed.append(None)
                continue
            changed.append(image if image.isfinite().all() else None)
        return changed

    return normalise


def spread(patches: Tensor) -> Tensor:
    """Standard deviation of both strengths over patches, as a share of their means."""
    stains = estimate(patches.double())
    strengths = stains.strengths[stains.usable]
    return strengths.std(0) / strengths.mean(0)


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patches", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    names = image_files(options.folder)
    step = max(1, len(names) // options.patches)
    chosen = names[::step][: options.patches]
    patches = torch.stack([torch.from_numpy(read_rgb(options.folder / n).copy()) for n in chosen])
    ways: dict[str, Way | None] = {
        "morefromless, luminosity": ours("luminosity", options.batch, options.device),
        "morefromless, density": ours("density", options.batch, options.device),
        "torchstain, torch": torchstain("torch"),
        "torchstain, numpy": torchstain("numpy"),
    }
    sound = ~Macenko().unchanged(patches)
    before = spread(patches[sound])
    print(
        f"{len(patches)} patches of {patches.shape[1]} px, {int((~sound).sum())} of them left out"
    )
    print("| | patches/s | failed | spread of hematoxylin | of eosin |")
    print("|---|---:|---:|---:|---:|")
    print(f"| as they are | | | {before[0]:.2f} | {before[1]:.2f} |")
    for name, way in ways.items():
        if way is None:
            print(f"| {name} | not installed | | | |")
            continue
        way(patches[: options.batch])  # the first one warms up
        clock = time.process_time if options.device == "cpu" else time.perf_counter
        start = clock()
        changed = way(patches)
        rate = len(patches) / (clock() - start)
        failed = sum(image is None for image in changed)
        kept = [c for c, good in zip(changed, sound, strict=True) if good and c is not None]
        after = spread(torch.stack(kept))
        print(f"| {name} | {rate:.0f} | {failed} | {after[0]:.2f} | {after[1]:.2f} |")


if __name__ == "__main__":
    main()
