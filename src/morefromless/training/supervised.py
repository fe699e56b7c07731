"""The supervised arm: the same encoder with a softmax head, by the same protocol (paper 2.2)."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from morefromless.branches import build_encoder, check_encoder
from morefromless.config import RunConfig
from morefromless.data.store import Store
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.objectives import Loss
from morefromless.pairs import Pair
from morefromless.runs import Run
from morefromless.tasks import build_task
from morefromless.training.curve import curve_of
from morefromless.training.diagnostics import check_finite
from morefromless.training.feed import Batch, Feed, Steps
from morefromless.training.loop import Learner, device_of, fit, is_rank_zero


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
    store = store.select(*pair.arrays, task=build_task(arm.task))
    check_encoder(train.encoder, pair.modalities["primary"].shape(train.size))
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

    def loss(
        images: dict[str, Tensor], batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        logits, labels = classifier(images["primary"]).float(), batch["label"]
        entropy = nn.functional.cross_entropy(logits, labels)
        check_finite(Loss(entropy, {"cross_entropy": entropy}), step)
        right = (logits.detach().argmax(1) == labels).float().mean()
        return entropy, {"term/cross_entropy": entropy.detach(), "train_accuracy": right}

    learner = Learner(classifier, Feed(store, rows, pair, device), config, steps, loss)
    frozen = FrozenEncoder(
        classifier.encoder, config.arm.primary, config.train.size, "primary", run.path
    )
    curve = curve_of({"primary": frozen}, store, run, config.machine.probe_every, steps.total)
    fit(learner, run, curve, f"supervised {config.arm.primary} s{config.seed}")
