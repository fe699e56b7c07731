"""GradCAM: which regions of a patch support the prediction of an encoder and its probe.

Selvaraju et al. 2017, implemented with captum. The paper shows GradCAM in Fig. 3 and S5. The
authors' GradCAM code is not published, and the paper does not say whether it uses the logit or the
probability.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn
from torch.nn import functional as F

from morefromless.analysis.layers import select_layers
from morefromless.errors import ConfigError


def gradcam(
    classifier: nn.Module,
    images: Tensor,
    layers: Sequence[str],
    targets: Tensor | None = None,
) -> dict[str, Tensor]:
    """Raw maps (B, h, w) of each layer at its own resolution, including negative values.

    A map is the sum of the layer's channels, each weighted by the mean gradient of a class logit.
    The class of patch i is `targets[i]` (B,), by default the predicted class. `scaled` converts
    maps for display. Raises `ConfigError` if a layer does not exist or has no feature maps.
    """
    names = select_layers(classifier, list(layers))

    maps_by_layer = {}
    training = classifier.training
    classifier.eval()
    if targets is None:
        with torch.no_grad():
            targets = classifier(images).argmax(dim=1)
    with out_of_place(classifier):
        for name in names:
            attribution = LayerGradCam(classifier, classifier.get_submodule(name)).attribute(
                images, target=targets, relu_attributions=False
            )
            if not isinstance(attribution, Tensor) or attribution.ndim != 4:
                raise ConfigError(
                    f"Layer '{name}' has no feature maps, so it has no GradCAM; give a convolution."
                )
            maps_by_layer[name] = attribution.detach().squeeze(1)
    classifier.train(training)
    return maps_by_layer


def scaled(maps: Tensor, size: int) -> Tensor:
    """Positive part of maps, scaled to a maximum of 1 per patch: (B, h, w) -> (B, size, size), in
    [0, 1]. A map without positive values is zero.
    """
    positive = maps.clamp(min=0)
    positive = F.interpolate(positive[:, None], size=(size, size), mode="bilinear")[:, 0]
    largest = positive.amax(dim=(1, 2), keepdim=True)
    return positive / torch.where(largest > 0, largest, 1)


@contextmanager
def out_of_place(network: nn.Module) -> Iterator[None]:
    """Disable in-place operations within the block, because GradCAM reads layer inputs later."""
    changed = [part for part in network.modules() if getattr(part, "inplace", False) is True]
    for part in changed:
        part.inplace = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for part in changed:
            part.inplace = True  # type: ignore[assignment]
