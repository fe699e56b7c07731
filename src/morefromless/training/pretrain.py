"""Self-supervised training of paired branches."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from morefromless import objectives
from morefromless.branches import Branches, Plan, check_encoder, plans
from morefromless.data.store import Store
from morefromless.encoders import Encoder
from morefromless.errors import ConfigError
from morefromless.evaluation.features import extract, kept
from morefromless.labelling import labelled
from morefromless.objectives import Objective
from morefromless.options import INCIDENTAL, PretrainOptions, SuperviseOptions
from morefromless.pairs import Pair, modality
from morefromless.runs import Run
from morefromless.specs import build
from morefromless.training.curve import Curve
from morefromless.training.diagnostics import check_finite, effective_rank, spread
from morefromless.training.feed import Batch, Feed, Steps
from morefromless.training.gather import gather
from morefromless.training.loop import Learner, device_of, fit, is_rank_zero
from morefromless.training.partial import Mask, embedded, pairwise_loss

LOG_EVERY = 10

There = dict[str, npt.NDArray[np.bool_]]
"""Branch to (N,) bool: which patches of the store have its view."""


def pretrain(options: PretrainOptions) -> Run:
    """Train the branches that `options` describe, going on where an earlier call was stopped.

    Raises `ConfigError` before anything is trained where the options cannot work, and
    `TrainingError` where the loss stops being finite.
    """
    store = Store.open(options.store)
    device = device_of(options)
    planned = plans(options)
    pair = Pair({one.name: one.modality for one in planned}, options.views, options.size)
    objective = build(options.objective, objectives, Objective)
    pair.check(store)
    if options.probe_every:
        store = labelled(store, options.task)
    check(planned, objective, options)
    there = views_there(store, pair, options)
    train = trained_on(store, there, options)
    steps = Steps(len(train), batch=options.batch, epochs=options.epochs, seed=options.seed)
    run = Run.begin("pretrain", options, store.hash, INCIDENTAL | {"task"})
    with run.training(is_rank_zero(options)):
        if not run.done:
            _train(run, options, store, pair, there, planned, objective, train, steps, device)
    return run


def _train(
    run: Run,
    options: PretrainOptions,
    store: Store,
    pair: Pair,
    there: There,
    planned: Sequence[Plan],
    objective: Objective,
    train: npt.NDArray[np.int64],
    steps: Steps,
    device: torch.device,
) -> None:
    torch.manual_seed(options.seed)
    branches = Branches(planned, options.width)
    network = torch.nn.ModuleDict({"branches": branches, "objective": objective})
    frozen = {
        one.name: _once(branches[one.name].encoder, one, store, train, options, run, device)
        for one in planned
        if one.frozen
    }
    live = {one.name: one.modality for one in planned if not one.frozen}
    feed = Feed(
        store,
        train,
        Pair(live, options.views, options.size),
        device,
        frozen=frozen,
        present={name: has[train] for name, has in there.items() if not has[train].all()},
    )

    def loss(
        images: dict[str, Tensor], batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        present = feed.present(batch)
        made = in_parts(branches, images, options.accumulate or 1, present)
        embeddings = {name: gather(z) for name, z in made.items()}
        result = (
            pairwise_loss(objective, embeddings, present)
            if present
            else objective(list(embeddings.values()))
        )
        check_finite(result, step)
        logged = {f"term/{name}": value.detach() for name, value in result.terms.items()}
        if step % LOG_EVERY == LOG_EVERY - 1:
            for name, embedding in embeddings.items():
                logged[f"spread/{name}"] = spread(embedding)
                logged[f"effective_rank/{name}"] = effective_rank(embedding)
        return result.total, logged

    learner = Learner(network, feed, options, steps, loss)
    curve = Curve.of(
        {name: branches[name].encoder for name in live if name != "twin"},
        store,
        pair,
        run.path / "curve.csv",
        options.probe_every,
        steps.total,
    )
    fit(learner, run, curve, f"{options.arm}/{options.sharing} {options.primary} s{options.seed}")


def views_there(store: Store, pair: Pair, options: PretrainOptions) -> There:
    """Which patches have the view of each branch; of `options.pairs`, the privileged of a share."""
    there = {name: store.has(seen.array) for name, seen in pair.modalities.items()}
    if options.pairs < 1 and "privileged" in there:
        held = np.flatnonzero(there["privileged"])
        held = np.random.default_rng(options.seed).permutation(
            held[np.isin(held, store.indices("train"))]
        )
        used = np.zeros(len(store.table), dtype=bool)
        used[held[: max(2, round(options.pairs * len(held)))]] = True
        there["privileged"] = used
    return there


def trained_on(store: Store, there: There, options: PretrainOptions) -> npt.NDArray[np.int64]:
    """Rows that self-supervised training sees: not those that lack a view of the pair, but where
    it makes use of the views that such patches have."""
    train = store.indices("train")
    if options.missing == "pairs":
        return train
    return train[np.logical_and.reduce([has[train] for has in there.values()])]


def trained_patches(options: PretrainOptions | SuperviseOptions, store: Store) -> int:
    """How many patches a run trains on."""
    if not isinstance(options, PretrainOptions):
        return len(store.having([modality(options.primary).array]).indices("train"))
    pair = Pair(options.modalities, options.views, options.size)
    return len(trained_on(store, views_there(store, pair, options), options))


def check(planned: Sequence[Plan], objective: Objective, options: PretrainOptions) -> None:
    """Raise `ConfigError` where a first step would fail: every encoder sees two blank patches, and
    the objective two rows of every branch, at the embeddings' own width."""
    shapes = {one.key: modality(one.modality).shape(options.size) for one in planned}
    for one in {one.key: one for one in planned}.values():
        width = check_encoder(one.encoder, shapes[one.key], one.frozen)
        if one.no_expander and width != options.width:
            raise ConfigError(
                f"The branch '{one.name}' has no expander, so its embeddings are {width} wide and "
                f"the others' {options.width}; give --width {width}."
            )
    if options.batch < 2:
        raise ConfigError(
            "--batch 1 leaves nothing to compare a patch with, and BatchNorm no statistics; give 2 "
            "or more."
        )
    together = 2 if options.missing == "pairs" else len(planned)
    with torch.no_grad():
        objective([torch.randn(2, min(options.width, 64)) for _ in range(together)])


def in_parts(
    branches: Branches, images: Mapping[str, Tensor], parts: int, present: Mask
) -> dict[str, Tensor]:
    """Embeddings of a batch that goes through the branches in equal parts, by branch.

    Activations of one part at a time are held: the backward pass computes each anew. The objective
    sees all rows, so its loss and gradients are the whole batch's (where there is no BatchNorm,
    exactly so).
    """
    if parts == 1:
        return embedded(branches, images, present)
    made = []
    for number in range(parts):
        part, has = (
            {name: rows.chunk(parts)[number] for name, rows in whole.items()}
            for whole in (images, present)
        )
        made.append(checkpoint(embedded, branches, part, has, use_reentrant=False))
    return {name: torch.cat([embeddings[name] for embeddings in made]) for name in branches.names}


def _once(
    encoder: Encoder,
    one: Plan,
    store: Store,
    train: npt.NDArray[np.int64],
    options: PretrainOptions,
    run: Run,
    device: torch.device,
) -> Tensor:
    """What a frozen encoder makes of the patches `train` (zeros of those without the view).

    That of all training patches which have the view is kept in the run's folder, where the
    evaluation of that branch finds it too.
    """
    seen = modality(one.modality)
    rows = store.having([seen.array]).indices("train")
    features = kept(
        run.path / "features" / f"{one.name}-train.npy",
        lambda: extract(
            encoder, store, rows, seen, options.size, device=device, label=f"frozen {one.name}"
        ),
    )
    whole = features.new_zeros(len(store.table), features.shape[1])
    whole[rows] = features
    return whole[train]
