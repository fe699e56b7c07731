"""Checks before training: which patches a run trains on, and whether its first step works.

This module does not import the training loop, so that a study can be planned without that delay.
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
import torch

from morefromless import objectives
from morefromless.branch_plans import Plan, check_width, plan_branches, teacher_plan
from morefromless.config import RunConfig
from morefromless.data.store import Store
from morefromless.encoders import build_encoder, check_encoder
from morefromless.errors import ConfigError
from morefromless.objectives import Objective
from morefromless.pairs import Pair, build_modality
from morefromless.specs import build
from morefromless.tasks import build_task
from morefromless.training.steps import batch_size

Availability = dict[str, npt.NDArray[np.bool_]]
"""Map of branch to (N,) bool: which patches of the store have its view."""


def check(config: RunConfig) -> None:
    """Raise `ConfigError` if the first step of a run would fail.

    Tries every encoder on two blank patches, and the objective on the smallest number of random
    rows that it accepts.
    """
    for tracker in config.machine.log:
        if find_spec(tracker) is None:
            raise ConfigError(
                f"--log {tracker} needs the extra {tracker}; install it: "
                f"pip install 'morefromless[{tracker}]'."
            )
    width, checkpointing = config.pairing.width, config.machine.gradient_checkpointing
    if config.arm.supervised:
        shape = build_modality(config.arm.primary).shape(config.train.size)
        check_encoder(config.train.encoder, shape, checkpointing=checkpointing)
        if config.arm.pretraining_arm:
            check(replace(config, arm=config.arm.pretraining_arm))
        if config.arm.kind == "distillation":
            build(config.arm.objective, objectives, Objective)
            teacher = teacher_plan(config)
            check_encoder(teacher.encoder, teacher.input_shape, frozen=True)
            if config.arm.compares_maps:
                _check_stages(config.train.encoder, shape)
                _check_stages(teacher.encoder, teacher.input_shape)
        return
    plans = plan_branches(config)
    for plan in {(plan.key, plan.size): plan for plan in plans}.values():
        features = check_encoder(plan.encoder, plan.input_shape, plan.frozen, checkpointing)
        if plan.no_expander and not plan.target:
            check_width(plan, features, width)
    if config.train.batch < 2:
        raise ConfigError(
            "--batch 1 is too small: objectives compare patches, and BatchNorm needs several rows; "
            "use 2 or more."
        )
    objective = build(config.arm.objective, objectives, Objective)
    branches_per_loss = 2 if config.pairing.missing == "pairs" else len(plans)
    rows = min(config.train.batch, max(2, objective.min_rows))
    check_objective(objective, rows, width, branches_per_loss)


def check_objective(objective: Objective, rows: int, width: int, branches: int) -> None:
    """Raise `ConfigError` if an objective, which may be a user's class, cannot train embeddings
    (rows, width). Runs a forward and a backward pass on random embeddings."""
    embeddings = [torch.randn(rows, width, requires_grad=True) for _ in range(branches)]
    with torch.enable_grad():
        # Clones are not leaf tensors, so an objective may change them in place, as in training.
        total = objective([embedding.clone() for embedding in embeddings]).total
        if total.requires_grad:
            total.backward()
    if all(embedding.grad is None for embedding in embeddings):
        raise ConfigError(
            f"The total of {type(objective).__name__} does not depend on the embeddings, so "
            "nothing is trained; compute it from them, without detach or no_grad."
        )


def _check_stages(encoder: str, shape: tuple[int, ...]) -> None:
    with torch.no_grad():
        build_encoder(encoder, shape[0]).eval().stages(torch.zeros(2, *shape))


def check_views(config: RunConfig, store: Store) -> None:
    """Raise `DataError` or `ConfigError` if a branch or a teacher cannot use this store."""
    if config.arm.pretraining_arm:
        check_views(replace(config, arm=config.arm.pretraining_arm), store)
    elif not config.arm.supervised:
        pair_of(config, plan_branches(config)).check(store)
    elif config.arm.kind == "distillation":
        pair_of(config, [teacher_plan(config)]).check(store)
        supervised_pair(config).check(store)


def count_training_patches(config: RunConfig, store: Store) -> int:
    """Number of patches that a run trains on."""
    pair = Pair(config.arm.modalities, config.train.views, config.train.size)
    if config.arm.supervised:
        task = build_task(config.arm.task)
        return len(store.select(*pair.arrays, task=task, check=False).indices("train"))
    return len(training_rows(store, available_views(store, pair, config), config))


def count_steps(config: RunConfig, patches: int) -> int:
    """Number of steps of a run on this many patches."""
    return config.epochs * (patches // batch_size(config, patches))


def training_rows(
    store: Store, availability: Availability, config: RunConfig
) -> npt.NDArray[np.int64]:
    """Rows of the store that self-supervised training uses: the training patches that have every
    view of the pair, or all training patches with `--missing pairs`."""
    rows = store.indices("train")
    if config.pairing.missing == "pairs":
        return rows
    return rows[np.logical_and.reduce([has[rows] for has in availability.values()])]


def available_views(store: Store, pair: Pair, config: RunConfig) -> Availability:
    """Which patches have the view of each branch.

    If `pairing.pairs` is below 1, only this share of the privileged views in training is used.
    """
    available = {name: store.has(view.array) for name, view in pair.modalities.items()}
    if config.pairing.pairs < 1 and "privileged" in available:
        train = store.indices("train")
        rows = np.random.default_rng(config.seed).permutation(train[available["privileged"][train]])
        selected = np.zeros(len(store.table), dtype=bool)
        selected[rows[: max(2, round(config.pairing.pairs * len(rows)))]] = True
        available["privileged"] = selected
    return available


def pair_of(config: RunConfig, plans: Sequence[Plan]) -> Pair:
    """The pair of the branches' modalities, each at the size of its branch."""
    size = config.train.size
    return Pair(
        {plan.name: plan.modality for plan in plans},
        config.train.views,
        size,
        {plan.name: plan.size for plan in plans if plan.size != size},
        config.pairing.same_geometry,
    )


def supervised_pair(config: RunConfig) -> Pair:
    """The pair of a supervised arm: the primary modality and, if the objective compares feature
    maps, the teacher's modality with the same geometry."""
    arm, train = config.arm, config.train
    if not arm.compares_maps:
        return Pair(arm.modalities, train.views, train.size)
    teacher = teacher_plan(config)
    return Pair(
        {**arm.modalities, teacher.name: teacher.modality},
        train.views,
        train.size,
        {teacher.name: teacher.size},
        same_geometry=True,
    )
