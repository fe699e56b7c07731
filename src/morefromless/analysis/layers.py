"""Find layers of an encoder by name: convolutions, blocks and stages."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from morefromless.errors import ConfigError, near_names


def convolutions(network: nn.Module) -> list[str]:
    """Names of all 2D convolutions, in the order of definition."""
    return [name for name, part in network.named_modules() if isinstance(part, nn.Conv2d)]


def blocks(network: nn.Module) -> list[str]:
    """Names of residual blocks, transformer blocks and similar, in the order of definition.

    A block is an innermost item of a sequence that contains at least two layers with weights.
    """
    sequences = (nn.Sequential, nn.ModuleList)
    items = [
        f"{name}.{child}" if name else child
        for name, part in network.named_modules()
        if isinstance(part, sequences)
        for child, item in part.named_children()
        if sum(bool(list(m.parameters(recurse=False))) for m in item.modules()) > 1
    ]
    chains = [item for item in items if not _is_shortcut(item)]
    return [item for item in chains if not any(other.startswith(f"{item}.") for other in chains)]


def _is_shortcut(name: str) -> bool:
    """Whether a layer is in a shortcut, which is a sequence too, but not a chain of blocks."""
    return any(word in name.split(".") for word in ("downsample", "shortcut"))


def select_layers(network: nn.Module, selection: str | Sequence[str] = "auto") -> list[str]:
    """Names of layers selected by `convolutions`, `blocks` or `auto`, or given as a list or as
    `a+b+c`.

    `auto` selects the convolutions if there are three or more, else the blocks (a transformer has
    only one convolution, its patch embedding), else every layer with weights. Raises `ConfigError`
    if the network does not have a layer; the message suggests similar names.
    """
    if not isinstance(selection, str):
        return [_existing_layer(network, name) for name in selection]
    if selection == "auto":
        names = convolutions(network)
        return names if len(names) > 2 else blocks(network) or _layers_with_weights(network)
    if selection == "convolutions":
        return convolutions(network) or _raise_missing(selection)
    if selection == "blocks":
        return blocks(network) or _raise_missing(selection)
    return [_existing_layer(network, name.strip()) for name in selection.split("+")]


def stage_convolutions(network: nn.Module) -> list[str]:
    """The first convolution, and the first of each stage, as in the paper's Fig. 3 and S5.

    A stage is a chain of blocks (`layer1` of a ResNet). For a network without stages, the first and
    the last convolution are returned. For a network with fewer than two convolutions, such as a
    transformer (patch embedding only), the result is empty.
    """
    all_names = convolutions(network)
    if len(all_names) < 2:
        return []
    firsts = {block.rpartition(".")[0]: block for block in reversed(blocks(network))}
    names = [all_names[0]]
    for block in reversed(list(firsts.values())):
        inside = [name for name in all_names if name.startswith(f"{block}.")]
        names += inside[:1]
    return list(dict.fromkeys(names if len(names) > 1 else [all_names[0], all_names[-1]]))


def gradcam_layers(network: nn.Module, images: Tensor) -> list[str]:
    """The layers whose GradCAM is shown: the first of `stage_convolutions`, and those whose maps of
    `images` are 4 x 4 or larger, because smaller maps localise poorly."""
    layers = stage_convolutions(network)
    sides: dict[str, int] = {}

    def measure(name: str, maps: Tensor) -> None:
        sides[name] = maps.shape[-1]

    with torch.no_grad(), forward_hooks(network, layers, measure):
        network(images)
    return [name for name in layers if name == layers[0] or sides[name] >= 4]


def last_gradcam_layer(network: nn.Module, images: Tensor) -> str | None:
    """The last of `gradcam_layers`; None if the network has no feature maps."""
    return next(reversed(gradcam_layers(network, images)), None)


@contextmanager
def forward_hooks(
    network: nn.Module, names: Sequence[str], callback: Callable[[str, Tensor], Any]
) -> Iterator[None]:
    """Within the block, call `callback(name, output)` immediately after each of the layers runs.

    At this point, later in-place layers have not yet changed the output. If a layer returns several
    tensors, the first is passed.
    """
    modules = dict(network.named_modules())

    def hook(name: str) -> Callable[..., None]:
        def called(module: nn.Module, inputs: Any, output: Any) -> None:
            del module, inputs
            callback(name, output if isinstance(output, Tensor) else output[0])

        return called

    handles = [modules[name].register_forward_hook(hook(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def execution_order(network: nn.Module, names: Sequence[str], images: Tensor) -> list[str]:
    """The layers in the order in which they run; layers that do not run are excluded."""
    order: list[str] = []
    with torch.no_grad(), forward_hooks(network, names, lambda name, _: order.append(name)):
        network(images)
    return list(dict.fromkeys(order))


def _layers_with_weights(network: nn.Module) -> list[str]:
    return [
        name
        for name, part in network.named_modules()
        if name and list(part.parameters(recurse=False))
    ]


def _existing_layer(network: nn.Module, name: str) -> str:
    names = [existing for existing, _ in network.named_modules() if existing]
    if name in names:
        return name
    near = near_names(name, names, 3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"its first layer is {names[0]}."
    raise ConfigError(f"The encoder has no layer '{name}'; {hint}")


def _raise_missing(selection: str) -> list[str]:
    raise ConfigError(f"The encoder has no {selection}; give names of layers.")
