"""What a plan will cost, before any of it is trained."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from tqdm import tqdm

from morefromless import objectives
from morefromless.branches import Branches, build_encoder, plans
from morefromless.comparison.plan import Trained
from morefromless.data.store import Store
from morefromless.objectives import Objective
from morefromless.options import PretrainOptions
from morefromless.pairs import modality
from morefromless.runs import Run
from morefromless.specs import build
from morefromless.training.pretrain import trained_patches

PATCHES = (4, 8)
"""Patches of the steps that are timed; from the two follows what each further one takes."""


class Planned(Protocol):
    """A run that is wanted, and the options that train it."""

    @property
    def options(self) -> Trained: ...

    @property
    def run(self) -> Run: ...


@dataclass(frozen=True)
class Estimate:
    """Of the runs that are not done."""

    runs: int
    steps: int
    seconds: float
    """Of training, one run after the other."""
    measured: bool
    """Whether all of it follows from runs of the same kind that are done, not from timed steps."""


def estimate(planned: Sequence[Planned], store: Store) -> Estimate:
    """Time from runs of the same kind that are done where there are some, else from a few steps of
    each kind, timed here and now."""
    known: dict[object, list[float]] = {}
    for one in planned:
        if one.run.done:
            per_step = float(one.run.record["seconds"]) / max(1, int(one.run.record["steps"]))
            known.setdefault(_kind(one.options), []).append(per_step)
    waiting = [one for one in planned if not one.run.done]
    kinds = {_kind(one.options): one for one in waiting}
    measured = all(kind in known for kind in kinds)
    new = [kind for kind in kinds if kind not in known]
    for kind in tqdm(new, desc="timing steps", unit="kind", leave=False, dynamic_ncols=True):
        known[kind] = [_timed(kinds[kind].options)]
    steps, seconds = 0, 0.0
    for one in waiting:
        count = steps_of(one.options, store)
        each = known[_kind(one.options)]
        steps += count
        seconds += count * sum(each) / len(each)
    return Estimate(len(waiting), steps, seconds, measured)


def steps_of(options: Trained, store: Store) -> int:
    """Steps of a whole run."""
    return options.epochs * (trained_patches(options, store) // options.batch)


def _kind(options: Trained) -> object:
    """Runs of one kind take one time a step: all but seed, length and folder."""
    same = replace(options, seed=0, epochs=1, warmup=0, out=Path(), store=Path(), probe_every=0)
    return type(options).__name__, same


def _timed(options: Trained) -> float:
    """Seconds that a step of these options takes, from steps of two small sizes."""
    gpu = options.device != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    network, step = _stepped(options, device)
    adam = torch.optim.Adam(network.parameters(), lr=1e-9)

    def seconds(what: Callable[[], object]) -> float:
        found = []
        for _ in range(3):  # the first one also allocates
            began = time.perf_counter()
            what()
            if gpu:
                torch.cuda.synchronize()
            found.append(time.perf_counter() - began)
        return min(found)

    few, more = (seconds(partial(step, count)) for count in PATCHES)
    each = max(0.0, (more - few) / (PATCHES[1] - PATCHES[0]))
    return more + each * (options.batch - PATCHES[1]) + seconds(adam.step)


def _stepped(
    options: Trained, device: torch.device
) -> tuple[torch.nn.Module, Callable[[int], None]]:
    """The network that is trained, and a forward and backward pass of it with so many patches."""
    if not isinstance(options, PretrainOptions):
        seen = modality(options.primary)
        network = build_encoder(options.encoder, seen.channels).to(device)
        shape = seen.shape(options.size)

        def supervised(count: int) -> None:
            network(torch.rand(count, *shape, device=device)).square().mean().backward()

        return network, supervised
    planned = plans(options)
    branches = Branches(planned, options.width).to(device)
    objective = build(options.objective, objectives, Objective)
    shapes = {
        one.name: (branches[one.name].encoder.width,)
        if one.frozen
        else modality(one.modality).shape(options.size)
        for one in planned
    }

    def paired(count: int) -> None:
        made = branches({n: torch.rand(count, *s, device=device) for n, s in shapes.items()})
        objective([z for _, z in made.values()]).total.backward()

    return branches, paired
