"""Pictures of patches, and GradCAM overlays on them."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from morefromless.analysis.gradcam import gradcam, scaled
from morefromless.data.store import Store
from morefromless.evaluation.evaluate import Answer
from morefromless.evaluation.frozen import Classifier
from morefromless.modalities import Modality

Pictures = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]
BATCH_SIZE = 64
"""Batch size in patches."""
HEAT_COLOURS = "inferno"
"""Matplotlib colour map for GradCAM. Its lightness is uniform, so it is readable in grey and for
colour-blind readers."""


def pictures(modality: Modality, store: Store, rows: Rows, size: int, side: int) -> Pictures:
    """Render patches in a modality at the network's `size`: (n, side, side, 3)."""
    pixels = np.empty((len(rows), side, side, 3), np.uint8)
    stored = store.array(modality.array)
    for start in range(0, len(rows), BATCH_SIZE):
        part = rows[start : start + BATCH_SIZE]
        images = modality.render(torch.from_numpy(np.asarray(stored[part])), size)
        pixels[start : start + len(part)] = to_pictures(modality, images, side)
    return pixels


def to_pictures(modality: Modality, images: Tensor, side: int) -> Pictures:
    """Convert an encoder's input (n, C, S, S) to pictures (n, side, side, 3)."""
    return _bytes(_resize(modality.to_rgb(images), side))


def cams(
    answer: Answer, store: Store, rows: Rows, layers: Sequence[str], side: int, device: str
) -> dict[str, Pictures]:
    """GradCAM of the encoder's own predictions by layer, over its patches in grey.

    Shape (n, side, side, 3) per layer. The brightest region of a patch supports its class most.
    """
    pixels = {layer: np.empty((len(rows), side, side, 3), np.uint8) for layer in layers}
    classifier, modality = answer.classifier.to(device), answer.frozen.modality
    for start in range(0, len(rows), BATCH_SIZE):
        part = rows[start : start + BATCH_SIZE]
        images = answer.frozen.render(store, part, device)
        for layer, overlays in overlay_cams(classifier, modality, images, layers, side).items():
            pixels[layer][start : start + len(part)] = overlays
    return pixels


def overlay_cams(
    classifier: Classifier, modality: Modality, images: Tensor, layers: Sequence[str], side: int
) -> dict[str, Pictures]:
    """GradCAM of a classifier's own predictions by layer of its encoder, over its input
    (n, C, S, S) in grey: (n, side, side, 3) per layer."""
    rgb = _resize(modality.to_rgb(images.cpu()), side)
    maps = gradcam(classifier, images, [f"encoder.{layer}" for layer in layers])
    heats = (scaled(maps[f"encoder.{layer}"].cpu(), side) for layer in layers)
    return {layer: _bytes(_blend(rgb, heat)) for layer, heat in zip(layers, heats, strict=True)}


def _blend(rgb: Tensor, heat: Tensor) -> Tensor:
    """Blend heat maps (n, S, S) over grey pictures (n, 3, S, S), more strongly at high values."""
    grey = (rgb * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    colours = torch.from_numpy(matplotlib.colormaps[HEAT_COLOURS](heat.numpy())[..., :3]).float()
    strength = 0.25 + 0.5 * heat[:, None]
    return grey * (1 - strength) + colours.permute(0, 3, 1, 2) * strength


def _resize(images: Tensor, side: int) -> Tensor:
    """(n, 3, S, S) -> (n, 3, side, side): nearest neighbour to enlarge, antialiased to shrink."""
    if images.shape[-1] < side:
        return F.interpolate(images, size=(side, side), mode="nearest-exact")
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


def _bytes(images: Tensor) -> Pictures:
    pixels: Pictures = (
        (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    )
    return pixels
