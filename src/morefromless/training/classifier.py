"""A classifier and its losses: from the labels and, for distillation, from a frozen teacher."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from morefromless import objectives
from morefromless.branch_plans import teacher_plan
from morefromless.config import RunConfig
from morefromless.data.store import Store
from morefromless.encoders import build_encoder
from morefromless.evaluation.frozen import frozen_branch
from morefromless.objectives import Loss, Objective
from morefromless.objectives.attention_transfer import AttentionTransfer
from morefromless.objectives.soft_labels import SoftLabels
from morefromless.probes.softmax import fit_linear_probe
from morefromless.specs import build
from morefromless.training.feed import Batch


class Classifier(nn.Module):
    """An encoder and a linear layer that outputs logits."""

    def __init__(self, encoder: str, classes: int, channels: int = 3) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, channels)
        self.head = nn.Linear(self.encoder.width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, S, S) -> logits (B, classes)."""
        logits: Tensor = self.head(self.encoder(images))
        return logits


Criterion = Callable[[Classifier, dict[str, Tensor], Batch], tuple[Tensor, Loss]]
"""Function of a classifier, views by branch and a batch -> logits (B, classes) and the loss."""


def criterion(config: RunConfig, store: Store, device: torch.device) -> Criterion:
    """The loss function of the arm of `config`, for the training patches of `store`."""
    if config.arm.kind != "distillation":
        return label_loss
    objective = build(config.arm.objective, objectives, Objective)
    if isinstance(objective, AttentionTransfer):
        return _attention_loss(objective, config)
    assert isinstance(objective, SoftLabels)  # the only other one in `Arm.supervised`
    return _soft_label_loss(objective, teacher_logits(config, store, device))


def label_loss(
    classifier: Classifier, images: dict[str, Tensor], batch: Batch
) -> tuple[Tensor, Loss]:
    logits = classifier(images["primary"]).float()
    entropy = nn.functional.cross_entropy(logits, batch["label"])
    return logits, Loss(entropy, {"cross_entropy": entropy})


def _soft_label_loss(objective: SoftLabels, teacher_outputs: Tensor) -> Criterion:
    def loss(
        classifier: Classifier, images: dict[str, Tensor], batch: Batch
    ) -> tuple[Tensor, Loss]:
        logits, labels = label_loss(classifier, images, batch)
        targets = teacher_outputs[batch["position"].to(teacher_outputs.device)].to(logits.device)
        soft = objective([logits, targets])
        total = (1 - objective.weight) * labels.total + objective.weight * soft.total
        return logits, Loss(total, labels.terms | soft.terms)

    return loss


def _attention_loss(objective: AttentionTransfer, config: RunConfig) -> Criterion:
    """The loss function with attention transfer.

    Feature maps depend on a view's geometry, so the teacher runs in every step, on views with the
    same geometry.
    """
    plan = teacher_plan(config)
    teacher = build_encoder(plan.encoder, plan.channels).eval().requires_grad_(False)

    def loss(
        classifier: Classifier, images: dict[str, Tensor], batch: Batch
    ) -> tuple[Tensor, Loss]:
        representation, maps = classifier.encoder.stages(images["primary"])
        logits = classifier.head(representation).float()
        entropy = nn.functional.cross_entropy(logits, batch["label"])
        with torch.no_grad():
            _, teacher_maps = teacher.to(images["privileged"].device).stages(images["privileged"])
        attention = objective.of_stages(maps, teacher_maps)
        terms = {"cross_entropy": entropy, **attention.terms}
        return logits, Loss(entropy + attention.total, terms)

    return loss


def teacher_logits(config: RunConfig, store: Store, device: torch.device) -> Tensor:
    """Logits (N, classes) of a linear probe on the frozen teacher, for the training patches.

    The probe is fitted to the labels of the same patches, so the teacher is supervised.
    """
    plan = teacher_plan(config)
    teacher = frozen_branch(build_encoder(plan.encoder, plan.channels).eval(), plan, config)
    features = teacher.features(store, "train", device, label="frozen teacher")
    labels = torch.from_numpy(store.labels[store.indices("train")])
    probe = fit_linear_probe(features, labels, len(store.classes), standardise=True, device=device)
    return probe.logits(features)
