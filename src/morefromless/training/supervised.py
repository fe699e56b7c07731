"""The supervised arm: the same encoder with a softmax head, by the same protocol (paper 2.2)."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from morefromless import objectives
from morefromless.branches import build_encoder, teacher_plan
from morefromless.config import RunConfig
from morefromless.data.store import Store
from morefromless.evaluation.frozen import FrozenEncoder, frozen_branch
from morefromless.objectives import Loss
from morefromless.objectives.soft_labels import SoftLabels
from morefromless.pairs import Pair, modality
from morefromless.probes.softmax import fit_linear_probe
from morefromless.runs import Run
from morefromless.specs import build
from morefromless.tasks import build_task
from morefromless.training.checks import check, check_views
from morefromless.training.curve import curve_of
from morefromless.training.diagnostics import check_finite
from morefromless.training.feed import Batch, Feed, Steps
from morefromless.training.loop import Learner, device_of, fit, is_rank_zero, logs


class Classifier(nn.Module):
    """An encoder and a dense layer; softmax is in the loss."""

    def __init__(self, encoder: str, classes: int, channels: int = 3) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, channels)
        self.head = nn.Linear(self.encoder.width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, S, S) -> logits (B, classes)."""
        logits: Tensor = self.head(self.encoder(images))
        return logits


def supervise(config: RunConfig) -> Run:
    """Train a classifier on the primary modality, going on where an earlier call was stopped."""
    store = Store.open(config.store)
    device = device_of(config)
    arm, train = config.arm, config.train
    pair = Pair(arm.modalities, train.views, train.size)
    pair.check(store)
    views = [modality(arm.privileged)] if arm.kind == "distillation" else []
    store = store.select(*pair.arrays, *views, task=build_task(arm.task))
    check(config)
    check_views(config, store)
    rows = store.indices("train")
    steps = Steps(len(rows), batch=train.batch, epochs=train.epochs, seed=config.seed)
    run = Run.begin(config, store.hash)
    with run.training(is_rank_zero(config)):
        if not run.done:
            _train(run, config, store, pair, rows, steps, device)
    return run


def _train(
    run: Run,
    config: RunConfig,
    store: Store,
    pair: Pair,
    rows: npt.NDArray[np.int64],
    steps: Steps,
    device: torch.device,
) -> None:
    torch.manual_seed(config.seed)
    channels = pair.modalities["primary"].channels
    classifier = Classifier(config.train.encoder, len(store.classes), channels)
    soft: SoftLabels | None = None
    if config.arm.kind == "distillation":
        soft = build(config.arm.objective, objectives, SoftLabels)
        answers = teacher_logits(config, store, device)

    def loss(
        images: dict[str, Tensor], batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        logits, labels = classifier(images["primary"]).float(), batch["label"]
        entropy = nn.functional.cross_entropy(logits, labels)
        total, terms = entropy, {"cross_entropy": entropy}
        if soft is not None:
            divergence = soft([logits, answers[batch["position"].to(answers.device)]])
            terms |= divergence.terms
            total = (1 - soft.weight) * entropy + soft.weight * divergence.total
        if not logs(step, steps):
            return total, {}
        check_finite(Loss(total, terms), step)
        right = (logits.detach().argmax(1) == labels).float().mean()
        logged = {f"term/{name}": value.detach() for name, value in terms.items()}
        return total, {**logged, "train_accuracy": right}

    learner = Learner(classifier, Feed(store, rows, pair, device), config, steps, loss)
    frozen = FrozenEncoder(
        classifier.encoder, config.arm.primary, config.train.size, "primary", run.path
    )
    curve = curve_of({"primary": frozen}, store, run, config.machine.probe_every, steps.total)
    fit(learner, run, curve)


def teacher_logits(config: RunConfig, store: Store, device: torch.device) -> Tensor:
    """What a linear probe of the frozen teacher answers on the training patches: (N, classes).

    The probe learnt the labels of the same patches, so that the teacher is a supervised one.
    """
    plan = teacher_plan(config)
    teacher = frozen_branch(build_encoder(plan.encoder, plan.channels).eval(), plan, config)
    features = teacher.features(store, "train", device, label="frozen teacher")
    labels = torch.from_numpy(store.labels[store.indices("train")])
    probe = fit_linear_probe(features, labels, len(store.classes), standardise=True, device=device)
    return probe.logits(features)
