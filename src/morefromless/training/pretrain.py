"""Self-supervised training of paired branches."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from morefromless import objectives
from morefromless.branches import Branches, Plan, check_encoder, check_width, plans, teacher_plan
from morefromless.config import RunConfig
from morefromless.data.store import Store
from morefromless.encoders import Encoder
from morefromless.errors import ConfigError
from morefromless.evaluation.frozen import FrozenEncoder, frozen_branch
from morefromless.objectives import Objective
from morefromless.pairs import Pair, modality
from morefromless.runs import Run
from morefromless.specs import build
from morefromless.tasks import build_task
from morefromless.training.curve import curve_of
from morefromless.training.diagnostics import check_finite, effective_rank, spread
from morefromless.training.feed import Batch, Feed, Steps
from morefromless.training.gather import gather
from morefromless.training.loop import Learner, device_of, fit, is_rank_zero, logs
from morefromless.training.partial import Mask, embedded, pairwise_loss

Availability = dict[str, npt.NDArray[np.bool_]]
"""Branch to (N,) bool: which patches of the store have its view."""


def pretrain(config: RunConfig) -> Run:
    """Train the branches that `config` describes, going on where an earlier call was stopped.

    Raises `ConfigError` before anything is trained where the options cannot work, and
    `TrainingError` where the loss stops being finite.
    """
    store = Store.open(config.store)
    device = device_of(config)
    arm, train = config.arm, config.train
    branch_plans = plans(config)
    pair = paired(config, branch_plans)
    objective = build(arm.objective, objectives, Objective)
    pair.check(store)
    if config.machine.probe_every:
        store = store.select(task=build_task(arm.task))
    check(config)
    availability = available_views(store, pair, config)
    rows = training_rows(store, availability, config)
    steps = Steps(len(rows), batch=train.batch, epochs=train.epochs, seed=config.seed)
    run = Run.begin(config, store.hash)
    with run.training(is_rank_zero(config)):
        if not run.done:
            _train(run, config, store, availability, branch_plans, objective, rows, steps, device)
    return run


def _train(
    run: Run,
    config: RunConfig,
    store: Store,
    availability: Availability,
    branch_plans: Sequence[Plan],
    objective: Objective,
    rows: npt.NDArray[np.int64],
    steps: Steps,
    device: torch.device,
) -> None:
    torch.manual_seed(config.seed)
    branches = Branches(branch_plans, config.pairing.width)
    network = torch.nn.ModuleDict({"branches": branches, "objective": objective})
    frozen = {
        plan.name: _frozen_features(branches[plan.name].encoder, plan, store, rows, config, device)
        for plan in branch_plans
        if plan.frozen
    }
    live = [plan for plan in branch_plans if not plan.frozen]
    feed = Feed(
        store,
        rows,
        paired(config, live),
        device,
        frozen=frozen,
        present={name: has[rows] for name, has in availability.items() if not has[rows].all()},
    )

    def loss(
        images: dict[str, Tensor], batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        present = feed.present(batch)
        outputs = in_parts(branches, images, config.pairing.accumulate or 1, present)
        embeddings = {name: gather(z) for name, z in outputs.items()}
        result = (
            pairwise_loss(objective, embeddings, present)
            if present
            else objective(list(embeddings.values()))
        )
        if not logs(step, steps):
            return result.total, {}
        check_finite(result, step)
        logged = {f"term/{name}": value.detach() for name, value in result.terms.items()}
        for name, embedding in embeddings.items():
            logged[f"spread/{name}"] = spread(embedding)
            logged[f"effective_rank/{name}"] = effective_rank(embedding)
        return result.total, logged

    learner = Learner(network, feed, config, steps, loss)
    encoders = {
        plan.name: FrozenEncoder(
            branches[plan.name].encoder, plan.modality, plan.size, plan.name, run.path
        )
        for plan in live
        if plan.name in config.arm.encoders
    }
    curve = curve_of(encoders, store, run, config.machine.probe_every, steps.total)
    fit(learner, run, curve)


def paired(config: RunConfig, branch_plans: Sequence[Plan]) -> Pair:
    """The pair of these branches, each at its own size."""
    size = config.train.size
    return Pair(
        {plan.name: plan.modality for plan in branch_plans},
        config.train.views,
        size,
        {plan.name: plan.size for plan in branch_plans if plan.size != size},
        config.pairing.same_geometry,
    )


def check_views(config: RunConfig, store: Store) -> None:
    """Raise `DataError` or `ConfigError` where branches, or a teacher, cannot see this store."""
    if not config.arm.supervised:
        paired(config, plans(config)).check(store)
    elif config.arm.kind == "distillation":
        paired(config, [teacher_plan(config)]).check(store)


def available_views(store: Store, pair: Pair, config: RunConfig) -> Availability:
    """Which patches have the view of each branch; the privileged of a share, `pairing.pairs`."""
    available = {name: store.has(view.array) for name, view in pair.modalities.items()}
    if config.pairing.pairs < 1 and "privileged" in available:
        having = np.flatnonzero(available["privileged"])
        having = np.random.default_rng(config.seed).permutation(
            having[np.isin(having, store.indices("train"))]
        )
        used = np.zeros(len(store.table), dtype=bool)
        used[having[: max(2, round(config.pairing.pairs * len(having)))]] = True
        available["privileged"] = used
    return available


def training_rows(
    store: Store, availability: Availability, config: RunConfig
) -> npt.NDArray[np.int64]:
    """Rows that self-supervised training uses: not those that lack a view of the pair, unless it
    makes use of the views that such patches have."""
    rows = store.indices("train")
    if config.pairing.missing == "pairs":
        return rows
    return rows[np.logical_and.reduce([has[rows] for has in availability.values()])]


def count_training_patches(config: RunConfig, store: Store) -> int:
    """How many patches a run trains on."""
    pair = Pair(config.arm.modalities, config.train.views, config.train.size)
    if config.arm.supervised:
        return len(store.select(*pair.arrays).indices("train"))
    return len(training_rows(store, available_views(store, pair, config), config))


def check(config: RunConfig) -> None:
    """Raise `ConfigError` where a first step would fail: every encoder is given two blank patches,
    and the objective as few rows of every branch as it takes, at the embeddings' own width."""
    width = config.pairing.width
    if config.arm.supervised:
        check_encoder(config.train.encoder, modality(config.arm.primary).shape(config.train.size))
        if config.arm.kind == "distillation":
            build(config.arm.objective, objectives, Objective)
            teacher = teacher_plan(config)
            shape = modality(teacher.modality).shape(teacher.size)
            check_encoder(teacher.encoder, shape, frozen=True)
        return
    branch_plans = plans(config)
    for plan in {(plan.key, plan.size): plan for plan in branch_plans}.values():
        shape = modality(plan.modality).shape(plan.size)
        features = check_encoder(plan.encoder, shape, plan.frozen)
        if plan.no_expander and not plan.target:
            check_width(plan, features, width)
    if config.train.batch < 2:
        raise ConfigError(
            "--batch 1 leaves nothing to compare a patch with, and BatchNorm no statistics; give 2 "
            "or more."
        )
    objective = build(config.arm.objective, objectives, Objective)
    together = 2 if config.pairing.missing == "pairs" else len(branch_plans)
    with torch.no_grad():
        rows = min(config.train.batch, max(2, objective.min_rows))
        objective([torch.randn(rows, min(width, 64)) for _ in range(together)])


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
    outputs = []
    for number in range(parts):
        part, has = (
            {name: rows.chunk(parts)[number] for name, rows in whole.items()}
            for whole in (images, present)
        )
        outputs.append(checkpoint(embedded, branches, part, has, use_reentrant=False))
    return {
        name: torch.cat([embeddings[name] for embeddings in outputs]) for name in branches.names
    }


def _frozen_features(
    encoder: Encoder,
    plan: Plan,
    store: Store,
    rows: npt.NDArray[np.int64],
    config: RunConfig,
    device: torch.device,
) -> Tensor:
    """A frozen encoder's representations of the patches at `rows` (zeros where the view is absent).

    Those of all training patches that have the view are cached in `machine.features`, for all runs,
    else in the run's folder; the evaluation of that branch finds them there too.
    """
    frozen = frozen_branch(encoder, plan, config)
    features = frozen.features(store, "train", device, label=f"frozen {plan.name}")
    whole = features.new_zeros(len(store.table), features.shape[1])
    whole[store.select(frozen.modality).indices("train")] = features
    return whole[rows]
