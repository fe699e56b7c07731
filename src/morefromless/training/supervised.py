"""The supervised arm: the same encoder and protocol with a softmax head (paper 2.2)."""

import time
from dataclasses import replace

from torch import Tensor

from morefromless.config import RunConfig
from morefromless.data.store import Store
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.evaluation.loading import load_encoders
from morefromless.identity import run_key, with_run_folder
from morefromless.objectives import Loss
from morefromless.pairs import build_modality
from morefromless.runs import Run
from morefromless.tasks import build_task
from morefromless.torch_state import seed_generators
from morefromless.training.checks import check, check_views, supervised_pair
from morefromless.training.classifier import Classifier, criterion
from morefromless.training.diagnostics import Measure
from morefromless.training.feed import Batch, Feed, choose_residency
from morefromless.training.loop import Learner, Measures, device_of, fit, is_rank_zero
from morefromless.training.pretrain import pretrain
from morefromless.training.steps import Steps

POLL_SECONDS = 1.0
"""Seconds between two checks of a run that another process trains."""


def supervise(config: RunConfig) -> Run:
    """Train a classifier on the primary modality, and resume if an earlier call was stopped."""
    store = Store.open(config.store)
    device = device_of(config)
    arm = config.arm
    pair = supervised_pair(config)
    pair.check(store)
    teacher_modalities = [build_modality(arm.privileged)] if arm.kind == "distillation" else []
    store = store.select(*pair.arrays, *teacher_modalities, task=build_task(arm.task))
    check(config)
    check_views(config, store)
    rows = store.indices("train")
    steps = Steps.of(config, store, rows)
    run = Run.begin(config, store.hash)
    with run.training(is_rank_zero(config)):
        if run.done:
            return run
        seed_generators(config.seed, device)
        channels = pair.modalities["primary"].channels
        classifier = Classifier(config.train.encoder, len(store.classes), channels)
        if config.arm.pretraining_arm:
            pretrained = load_encoders(pretrained_run(config))["primary"].encoder
            classifier.encoder.load_state_dict(pretrained.state_dict())
        loss_of = criterion(config, store, device)

        def loss(images: dict[str, Tensor], batch: Batch) -> tuple[Loss, Measures]:
            logits, result = loss_of(classifier, images, batch)
            return result, lambda: {
                "train_accuracy": Measure((logits.argmax(1) == batch["label"]).float().mean())
            }

        residency, _ = choose_residency(
            store, pair, len(rows), device, config.machine.resident * 1e9
        )
        feed = Feed(store, rows, pair, device, residency)
        learner = Learner(classifier, feed, config, steps, loss)
        frozen = FrozenEncoder(
            classifier.encoder, config.arm.primary, config.train.size, "primary", run.path
        )
        fit(learner, run, {"primary": frozen}, store)
    return run


def pretrained_run(config: RunConfig) -> Run:
    """The self-supervised run whose encoder a fine-tuning run starts from.

    Uses the run in the neighbouring folder, which a study also trains, if it is finished. Otherwise
    trains one in the fine-tuning run's own folder.
    """
    assert config.arm.pretraining_arm
    start = replace(config, arm=config.arm.pretraining_arm)
    store = Store.open(config.store)
    study_run = Run(with_run_folder(start, config.out.parent, store.hash).out)
    while study_run.state == "running":
        time.sleep(POLL_SECONDS)
    if study_run.done and study_run.record.key == run_key(start, store.hash):
        return study_run
    return pretrain(replace(start, out=config.out / "self-supervised"))
