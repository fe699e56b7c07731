"""Layers of an encoder by name: its convolutions, its blocks, and the stages they make up."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from morefromless.errors import ConfigError


def convolutions(network: nn.Module) -> list[str]:
    """Every convolution of images, in the order of definition."""
    return [name for name, part in network.named_modules() if isinstance(part, nn.Conv2d)]


def blocks(network: nn.Module) -> list[str]:
    """Residual blocks, transformer blocks, and the like, in the order of definition.

    These are the innermost items of a sequence that hold two or more layers with weights.
    """
    sequences = (nn.Sequential, nn.ModuleList)
    items = [
        f"{name}.{child}" if name else child
        for name, part in network.named_modules()
        if isinstance(part, sequences)
        for child, item in part.named_children()
        if sum(bool(list(m.parameters(recurse=False))) for m in item.modules()) > 1
    ]
    whole = [item for item in items if not _is_shortcut(item)]
    return [item for item in whole if not any(other.startswith(f"{item}.") for other in whole)]


def _is_shortcut(name: str) -> bool:
    """A shortcut's parts are a sequence too, but not a chain of blocks."""
    return any(word in name.split(".") for word in ("downsample", "shortcut"))


def chosen(network: nn.Module, which: str | Sequence[str] = "auto") -> list[str]:
    """Layers to look at: `convolutions`, `blocks`, or names.

    `auto` is convolutions where there are three or more, else blocks (a transformer has one
    convolution only, its patch embedding), else every layer with weights. Raises `ConfigError` for
    a name that the network does not have, with near ones.
    """
    if not isinstance(which, str):
        return [_known(network, name) for name in which]
    if which == "auto":
        names = convolutions(network)
        return names if len(names) > 2 else blocks(network) or _weighted(network)
    if which == "convolutions":
        return convolutions(network) or _none(which)
    if which == "blocks":
        return blocks(network) or _none(which)
    return [_known(network, which)]


def first_of_stages(network: nn.Module) -> list[str]:
    """The first convolution, and the first of each stage: where Fig. 3 and S5 look.

    A stage is a chain of blocks (`layer1` of a ResNet); a network without stages has its first and
    its last convolution. Raises `ConfigError` where there are not two convolutions.
    """
    every = convolutions(network)
    if len(every) < 2:
        raise ConfigError(
            "GradCAM needs feature maps, and this encoder has none but its patch embedding's; "
            "explain an encoder with convolutions."
        )
    firsts = {block.rpartition(".")[0]: block for block in reversed(blocks(network))}
    names = [every[0]]
    for block in reversed(list(firsts.values())):
        inside = [name for name in every if name.startswith(f"{block}.")]
        names += inside[:1]
    return list(dict.fromkeys(names if len(names) > 1 else [every[0], every[-1]]))


def stages_with_places(network: nn.Module, images: Tensor) -> list[str]:
    """`first_of_stages`, of which the first, and those whose maps of `images` have 4 x 4 places or
    more: smaller ones say little of where. Empty where the network has no feature maps."""
    try:
        layers = first_of_stages(network)
    except ConfigError:
        return []
    sides: dict[str, int] = {}

    def measure(name: str, maps: Tensor) -> None:
        sides[name] = maps.shape[-1]

    with torch.no_grad(), observed(network, layers, measure):
        network(images)
    return [name for name in layers if name == layers[0] or sides[name] >= 4]


def last_maps(network: nn.Module, images: Tensor) -> str | None:
    """The last of `stages_with_places`; None where the network has no feature maps."""
    return next(reversed(stages_with_places(network, images)), None)


@contextmanager
def observed(
    network: nn.Module, names: Sequence[str], take: Callable[[str, Tensor], Any]
) -> Iterator[None]:
    """While it is open, `take(name, output)` is called as each layer yields its output.

    Outputs are not kept, and later layers that work in place cannot have changed them. Of an output
    of several tensors the first is taken.
    """
    modules = dict(network.named_modules())

    def hook(name: str) -> Callable[..., None]:
        def called(module: nn.Module, given: Any, output: Any) -> None:
            del module, given
            take(name, output if isinstance(output, Tensor) else output[0])

        return called

    handles = [modules[name].register_forward_hook(hook(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def in_order(network: nn.Module, names: Sequence[str], images: Tensor) -> list[str]:
    """The same layers in the order in which they run; without those that do not run."""
    order: list[str] = []
    with torch.no_grad(), observed(network, names, lambda name, _: order.append(name)):
        network(images)
    return list(dict.fromkeys(order))


def _weighted(network: nn.Module) -> list[str]:
    return [
        name
        for name, part in network.named_modules()
        if name and list(part.parameters(recurse=False))
    ]


def _known(network: nn.Module, name: str) -> str:
    known = [known for known, _ in network.named_modules() if known]
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"its first is {known[0]}."
    raise ConfigError(f"The encoder has no layer '{name}'; {hint}")


def _none(which: str) -> list[str]:
    raise ConfigError(f"The encoder has no {which}; give names of layers.")
