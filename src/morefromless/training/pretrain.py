"""Self-supervised training of paired branches."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from morefromless import objectives
from morefromless.branch_plans import Plan, plan_branches
from morefromless.branches import Branches
from morefromless.config import RunConfig
from morefromless.data.store import Store
from morefromless.encoders import Encoder
from morefromless.evaluation.frozen import FrozenEncoder, frozen_branch
from morefromless.objectives import Loss, Objective
from morefromless.runs import Run
from morefromless.specs import build
from morefromless.tasks import build_task
from morefromless.torch_state import seed_generators
from morefromless.training.checks import (
    available_views,
    check,
    pair_of,
    training_rows,
)
from morefromless.training.diagnostics import effective_rank, spread
from morefromless.training.feed import Batch, Feed, choose_residency
from morefromless.training.gather import gather
from morefromless.training.loop import Learner, Measures, device_of, fit, is_rank_zero
from morefromless.training.partial import embed_in_parts, pairwise_loss
from morefromless.training.steps import Steps


def pretrain(config: RunConfig) -> Run:
    """Train the branches that `config` describes, and resume if an earlier call was stopped.

    Raises `ConfigError` before training if the options are invalid, and `TrainingError` if the
    loss becomes non-finite.
    """
    store = Store.open(config.store)
    device = device_of(config)
    arm = config.arm
    plans = plan_branches(config)
    pair = pair_of(config, plans)
    objective = build(arm.objective, objectives, Objective)
    pair.check(store)
    # Patches without a label are used for training, but are in no split of a task.
    curve_store = store.select(task=build_task(arm.task)) if config.machine.probe_every else store
    check(config)
    availability = available_views(store, pair, config)
    rows = training_rows(store, availability, config)
    steps = Steps.of(config, store, rows)
    run = Run.begin(config, store.hash)
    with run.training(is_rank_zero(config)):
        if run.done:
            return run
        seed_generators(config.seed, device)
        branches = Branches(plans, config.pairing.width)
        network = torch.nn.ModuleDict({"branches": branches, "objective": objective})
        frozen = {
            plan.name: _frozen_features(
                branches[plan.name].encoder, plan, store, rows, config, device
            )
            for plan in plans
            if plan.frozen
        }
        trained_plans = [plan for plan in plans if not plan.frozen]
        pair = pair_of(config, trained_plans)
        feed = Feed(
            store,
            rows,
            pair,
            device,
            choose_residency(store, pair, len(rows), device, config.machine.resident * 1e9)[0],
            frozen=frozen,
            availability={
                name: has[rows] for name, has in availability.items() if not has[rows].all()
            },
        )

        def loss(images: dict[str, Tensor], batch: Batch) -> tuple[Loss, Measures]:
            available = feed.available_views(batch)
            outputs = embed_in_parts(branches, images, config.pairing.accumulate or 1, available)
            embeddings = {name: gather(z) for name, z in outputs.items()}
            result = (
                pairwise_loss(objective, embeddings, available)
                if available
                else objective(list(embeddings.values()))
            )
            return result, lambda: {
                f"{measure.__name__}/{name}": measure(embedding)
                for name, embedding in embeddings.items()
                for measure in (spread, effective_rank)
            }

        learner = Learner(network, feed, config, steps, loss)
        encoders = {
            plan.name: FrozenEncoder(
                branches[plan.name].encoder, plan.modality, plan.size, plan.name, run.path
            )
            for plan in trained_plans
            if plan.name in config.arm.encoders
        }
        fit(learner, run, encoders, curve_store)
    return run


def _frozen_features(
    encoder: Encoder,
    plan: Plan,
    store: Store,
    rows: npt.NDArray[np.int64],
    config: RunConfig,
    device: torch.device,
) -> Tensor:
    """A frozen encoder's representations of the patches at `rows` (zeros if the view is missing).

    The representations of all training patches that have the view are cached: in
    `machine.features`, shared by all runs, or else in the run's folder. The evaluation of that
    branch uses the same cache.
    """
    frozen = frozen_branch(encoder, plan, config)
    features = frozen.features(store, "train", device, label=f"frozen {plan.name}")
    all_features = features.new_zeros(len(store.table), features.shape[1])
    all_features[store.select(frozen.modality).indices("train")] = features
    return all_features[rows]
