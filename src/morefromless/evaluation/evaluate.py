"""Evaluation: predictions of a frozen encoder for a task on the test patches, with a probe."""

from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from morefromless.config import Probe
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.cache import digest
from morefromless.evaluation.frozen import Classifier, FrozenEncoder
from morefromless.evaluation.loading import load_encoders
from morefromless.evaluation.metrics import Scores, score
from morefromless.evaluation.results import Condition
from morefromless.probes import FittedProbe, LinearProbe, build_probe, label_subset
from morefromless.runs import Run
from morefromless.tasks import build_task
from morefromless.torch_state import preserved_torch_state


@dataclass(frozen=True, eq=False)
class Answer:
    """Predictions of one frozen encoder for one task."""

    frozen: FrozenEncoder
    store: Store
    """Labelled with the task; patches without the encoder's view are in no split."""
    task: str
    probe: FittedProbe
    """The fitted probe, or the encoder's own head."""
    probabilities: npt.NDArray[np.float32] = field(repr=False)
    """(test patches that have the view, classes), in the order of the store's rows."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """True classes (test patches,)."""
        return self.store.labels[self.store.indices("test")]

    @property
    def scores(self) -> Scores:
        return score(self.probabilities, self.labels)

    @property
    def classifier(self) -> Classifier:
        """Encoder and probe as one network. Raises `ConfigError` if the probe has no weights."""
        if not isinstance(self.probe, LinearProbe):
            raise ConfigError(
                "A probe without weights, such as knn, has no gradients; give --probe softmax or "
                "ridge."
            )
        return Classifier(self.frozen.encoder, self.probe)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions of one encoder, or floor, for one task."""

    condition: Condition
    seed: int
    probabilities: npt.NDArray[np.floating]
    """(test patches that have the modality, classes), in the order of the store's rows."""
    run: str = ""
    """Name of the run's folder; empty for floors and references."""
    branch: str = ""
    head: bool = False
    """Whether the predictions are from the encoder's own head."""
    size: int | None = None
    """Side in px of the encoder's input, if it differs from the study's."""


@preserved_torch_state()
def evaluate_encoder(
    frozen: FrozenEncoder,
    store: Store,
    probe: Probe,
    task: str,
    seed: int,
    device: str = "cpu",
    label: str | None = None,
) -> Answer:
    """Fit the probe and predict the test patches.

    For the task that the encoder was trained on, its own head is used instead of a probe. Results
    for the same weights, store and probe are read from the cache. `seed` determines the probe's
    initial weights, the order of the patches and the subset of labels if `probe.labels` < 1.
    """
    store = store.select(frozen.modality, task=build_task(task))
    head, method = frozen.head_for(task, store), build_probe(probe)
    name = frozen.probe_file_stem(probe, task) + (f"-s{seed}" if seed != frozen.seed else "")
    key = {
        "weights": frozen.fingerprint,
        "store": store.hash,
        "task": task,
        "modality": frozen.modality_spec,
        "size": str(frozen.size),
        "seed": str(seed),
        **{field.name: str(getattr(probe, field.name)) for field in fields(Probe)},
    }

    def fit() -> dict[str, Tensor]:
        labels = torch.from_numpy(store.labels[store.indices("train")])
        rows = label_subset(labels.numpy(), probe.labels, seed)
        features = frozen.features(store, "train", device, label)[rows].to(device)
        fitted_tensors = method.fit(features, labels[rows], len(store.classes), probe, seed)
        return {name: tensor.cpu() for name, tensor in fitted_tensors.items()}

    if head:
        key["head"] = digest({"weight": head.weight, "bias": head.bias})
        fitted: FittedProbe = head.to(device)
    else:
        fitted = method.fitted(frozen.cached(f"probe-{name}", key, fit)).to(device)

    def predict_test() -> dict[str, Tensor]:
        features = frozen.features(store, "test", device, label)
        return {"probabilities": fitted.probabilities(features).cpu()}

    answers = frozen.cached(f"predictions-{name}", key, predict_test)
    probabilities = answers["probabilities"].numpy()
    return Answer(frozen, store, task, fitted, probabilities)


def evaluate(
    run: Run,
    store: Store,
    probe: Probe,
    device: str = "cpu",
    *,
    task: str | None = None,
    label: str | None = None,
) -> list[Answer]:
    """Evaluate every branch of a finished run on its own modality.

    Branches without labelled training and test patches of their modality are skipped. Branches of a
    self-supervised run are evaluated with the probe. A supervised run uses its own head for its own
    task (the default), as in the paper, and a probe for any other. `device` is a PyTorch device,
    such as `cuda`; `label` is the title of a progress bar. Raises `DataError` if `store` is not the
    run's training store, unless that store has no labels.
    """
    encoders = load_encoders(run)
    unlabelled = any(frozen.data and frozen.data.unlabelled for frozen in encoders.values())
    if run.record.store_hash != store.hash and not unlabelled:
        raise DataError(
            f"{run.path} was not trained on {store.path}; to evaluate another cohort, "
            f"use mfl validate {run.path} {store.path}."
        )
    config = run.config
    task = config.arm.task if task is None else task
    answers = []
    for frozen in encoders.values():
        labelled = store.select(frozen.modality, task=build_task(task))
        if labelled.has_test_patches and labelled.can_train_probe:
            bar_label = f"{label} {frozen.name}" if label else None
            answers.append(
                evaluate_encoder(frozen, store, probe, task, config.seed, device, bar_label)
            )
    return answers


def evaluate_branch(
    run: Run, branch: str, store: Store, probe: Probe, task: str, device: str = "cpu"
) -> Answer:
    """Evaluate one branch of a finished run. Raises `ConfigError` if there is no such branch."""
    answers = {a.frozen.name: a for a in evaluate(run, store, probe, device, task=task)}
    if branch not in answers:
        raise ConfigError(
            f"{run.path} has no branch '{branch}', only {', '.join(answers)}; give another "
            "--branch."
        )
    return answers[branch]


def open_store(run: Run, given: Path | None) -> Store:
    """Open a run's store at `given`, by default at its path in training, relative to the run.

    Raises `DataError` if the store is missing or damaged.
    """
    path = given or run.config.store
    if given is None and not path.exists():
        raise no_store(path, run.path)
    return Store.open(path)


def no_store(path: Path, folder: Path) -> DataError:
    """Error for a missing store of the run or study in `folder`."""
    return DataError(f"The store of {folder} is not at {path}; give --store FOLDER.")
