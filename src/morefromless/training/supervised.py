"""The supervised arm: the same encoder with a softmax head, by the same protocol (paper 2.2)."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from morefromless.branches import build_encoder, check_encoder
from morefromless.data.store import Store
from morefromless.labelling import labelled
from morefromless.objectives import Loss
from morefromless.options import INCIDENTAL, SuperviseOptions
from morefromless.pairs import Pair
from morefromless.runs import Run
from morefromless.training.curve import Curve
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


def supervise(options: SuperviseOptions) -> Run:
    """Train a classifier on the primary modality, going on where an earlier call was stopped."""
    store = Store.open(options.store)
    device = device_of(options)
    pair = Pair({"primary": options.primary}, options.views, options.size)
    pair.check(store)
    store = labelled(store, options.task).having(pair.arrays)
    check_encoder(options.encoder, pair.modalities["primary"].shape(options.size))
    train = store.indices("train")
    steps = Steps(len(train), batch=options.batch, epochs=options.epochs, seed=options.seed)
    run = Run.begin("supervise", options, store.hash, INCIDENTAL)
    with run.training(is_rank_zero(options)):
        if not run.done:
            _train(run, options, store, pair, train, steps, device)
    return run


def _train(
    run: Run,
    options: SuperviseOptions,
    store: Store,
    pair: Pair,
    train: npt.NDArray[np.int64],
    steps: Steps,
    device: torch.device,
) -> None:
    torch.manual_seed(options.seed)
    channels = pair.modalities["primary"].channels
    classifier = Classifier(options.encoder, len(store.classes), channels)

    def loss(
        images: dict[str, Tensor], batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        logits, labels = classifier(images["primary"]).float(), batch["label"]
        entropy = nn.functional.cross_entropy(logits, labels)
        check_finite(Loss(entropy, {"cross_entropy": entropy}), step)
        right = (logits.detach().argmax(1) == labels).float().mean()
        return entropy, {"term/cross_entropy": entropy.detach(), "train_accuracy": right}

    learner = Learner(classifier, Feed(store, train, pair, device), options, steps, loss)
    curve = Curve.of(
        {"primary": classifier.encoder},
        store,
        pair,
        run.path / "curve.csv",
        options.probe_every,
        steps.total,
    )
    fit(learner, run, curve, f"supervised {options.primary} s{options.seed}")
