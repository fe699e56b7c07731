"""GradCAM: where in a patch an encoder and its probe find what they say of it.

Selvaraju et al. 2017, through captum. The paper's Fig. 3 and S5 show it; the authors' code of it is
not published, nor whether they took the logit or the probability.
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
    """Maps (B, h, w) of each layer at its own resolution, as they come: negative values too.

    A map is the layer's channels, weighted by the mean gradient of the logit of class `targets[i]`
    (B,), by default the class that the classifier gives patch i. `relu` and `scaled` make of it
    what is shown. Raises `ConfigError` for a layer that is not there or gives no feature maps.
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
                    f"Layer '{name}' gives no feature maps, so GradCAM has nothing to show of it; "
                    "name a convolution."
                )
            maps_by_layer[name] = attribution.detach().squeeze(1)
    classifier.train(training)
    return maps_by_layer


def scaled(maps: Tensor, size: int) -> Tensor:
    """What supports the class, each patch's largest value 1: (B, h, w) -> (B, size, size), in
    [0, 1]. Where nothing does, the map stays zero.
    """
    positive = maps.clamp(min=0)
    positive = F.interpolate(positive[:, None], size=(size, size), mode="bilinear")[:, 0]
    largest = positive.amax(dim=(1, 2), keepdim=True)
    return positive / torch.where(largest > 0, largest, 1)


@contextmanager
def out_of_place(network: nn.Module) -> Iterator[None]:
    """While it is open, no layer overwrites its input, which GradCAM has yet to read."""
    changed = [part for part in network.modules() if getattr(part, "inplace", False) is True]
    for part in changed:
        part.inplace = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for part in changed:
            part.inplace = True  # type: ignore[assignment]
