"""How much a plan will write, before any of it is trained."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import torch

from morefromless.branches import Branches, Plan, plans, untrained
from morefromless.data.store import Store
from morefromless.errors import ConfigError, MoreFromLessError
from morefromless.labelling import labelled
from morefromless.options import PretrainOptions
from morefromless.pairs import modality
from morefromless.training.supervised import Classifier

if TYPE_CHECKING:
    from morefromless.comparison.execute import Planned

Network = TypeVar("Network", bound=torch.nn.Module)


def check_disk(planned: Sequence["Planned"], at_once: int) -> None:
    """Raise `ConfigError` where the disk has no room for what these runs will yet write."""
    needed = needed_bytes(planned, at_once)
    folder = planned[0].run.path.absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise ConfigError(
            f"The runs need up to {needed / 1e9:,.2f} GB, and the disk of {folder.parent} has "
            f"{free / 1e9:,.2f} GB left; free some space, or give another --out."
        )


def needed_bytes(planned: Sequence["Planned"], at_once: int = 1) -> int:
    """Bytes that these runs will yet write, at most, of which `at_once` are trained side by side.

    Of every run, its weights and the features of its branches. While it is trained, two
    checkpoints of weights and Adam's moments: the last one stays until the next is whole. A run
    whose options cannot work counts as nothing.
    """
    stores = cache(Store.open)
    lasting, passing = 0, []
    for one in planned:
        with suppress(MoreFromLessError):
            store = stores(one.options.store)
            size = _size_of(one, store)
            for branch, width in size.widths:
                for split in ("train", "test"):
                    if not (one.run.path / "features" / f"{branch}-{split}.npy").is_file():
                        lasting += 4 * width * int((store.table["split"] == split).sum())
            if not one.run.done:
                lasting += size.weights
                two = 1 if one.run.checkpoint.is_file() else 2
                passing.append(two * (size.weights + size.moments))
    return lasting + sum(sorted(passing, reverse=True)[:at_once])


@dataclass(frozen=True)
class _Size:
    """Of one architecture, in bytes."""

    weights: int
    """Buffers included."""
    moments: int
    widths: tuple[tuple[str, int], ...]
    """Branches that are evaluated, and how many numbers represent a patch."""


def _size_of(one: "Planned", store: Store) -> _Size:
    options = one.options
    if isinstance(options, PretrainOptions):
        made = [replace(plan, encoder=untrained(plan.encoder)) for plan in plans(options)]
        return _of_branches(tuple(made), options.width)
    classes = len(labelled(store, options.task).classes)
    return _of_classifier(untrained(options.encoder), classes, modality(options.primary).channels)


@cache
def _of_branches(made: tuple[Plan, ...], width: int) -> _Size:
    branches = _built(lambda: Branches(made, width))
    names = [name for name in branches.names if name != "twin"]
    return _sized(branches, {name: branches[name].encoder.width for name in names})


@cache
def _of_classifier(encoder: str, classes: int, channels: int) -> _Size:
    classifier = _built(lambda: Classifier(encoder, classes, channels))
    return _sized(classifier, {"primary": classifier.encoder.width})


def _built(make: Callable[[], Network]) -> Network:
    """A network without memory for its weights; with it, where an encoder insists."""
    try:
        with torch.device("meta"):
            return make()
    except (RuntimeError, NotImplementedError):
        return make()


def _sized(network: torch.nn.Module, widths: dict[str, int]) -> _Size:
    trained = sum(p.nbytes for p in network.parameters() if p.requires_grad)
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    return _Size(weights, 2 * trained, tuple(widths.items()))
