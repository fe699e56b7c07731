"""Evaluation: a frozen encoder's answers to a task on the test patches, through a probe."""

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
from morefromless.torch_state import own_state


@dataclass(frozen=True, eq=False)
class Answer:
    """What one frozen encoder answered to one task."""

    frozen: FrozenEncoder
    store: Store
    """Labelled with the task; patches without the encoder's view stand in no split."""
    task: str
    probe: FittedProbe
    """The probe that was fitted, or the encoder's own head."""
    probabilities: npt.NDArray[np.float32] = field(repr=False)
    """(test patches that have the view, classes), in the order of the store's rows."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(test patches,) the true classes."""
        return self.store.labels[self.store.indices("test")]

    @property
    def scores(self) -> Scores:
        return score(self.probabilities, self.labels)

    @property
    def classifier(self) -> Classifier:
        """Encoder and probe as one network. Raises `ConfigError` where the probe has no weights."""
        if not isinstance(self.probe, LinearProbe):
            raise ConfigError(
                "A probe without weights, such as knn, has no gradients to look into; give --probe "
                "softmax or ridge."
            )
        return Classifier(self.frozen.encoder, self.probe)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one encoder, or floor, answered to one task."""

    condition: Condition
    seed: int
    probabilities: npt.NDArray[np.floating]
    """(test patches that have the modality, classes), in the order of the store's rows."""
    run: str = ""
    """Name of its folder; empty for floors and references."""
    branch: str = ""
    head: bool = False
    """Whether the encoder's own head answered."""
    size: int | None = None
    """Side in px of what the encoder takes, where that is not the study's."""


@own_state()
def answer(
    frozen: FrozenEncoder,
    store: Store,
    probe: Probe,
    task: str,
    seed: int,
    device: str = "cpu",
    label: str | None = None,
) -> Answer:
    """Fit the probe, or take the encoder's own head for the task it learnt, and ask the test set.

    What was computed before from the same weights, store and probe is read back. `seed` draws the
    probe's start, the order of the patches and, of `probe.labels`, which are used.
    """
    store = store.select(frozen.modality, task=build_task(task))
    head, method = frozen.head_for(task, store), build_probe(probe)
    name = frozen.artifact(probe, task) + (f"-s{seed}" if seed != frozen.seed else "")
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
        learnt = method.fit(features, labels[rows], len(store.classes), probe, seed)
        return {name: tensor.cpu() for name, tensor in learnt.items()}

    if head:
        key["head"] = digest({"weight": head.weight, "bias": head.bias})
        fitted: FittedProbe = head.to(device)
    else:
        fitted = method.fitted(frozen.cached(f"probe-{name}", key, fit)).to(device)

    def ask() -> dict[str, Tensor]:
        features = frozen.features(store, "test", device, label)
        return {"probabilities": fitted.probabilities(features).cpu()}

    answers = frozen.cached(f"predictions-{name}", key, ask)
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
    """Every branch of a finished run on its own modality, where test patches have it.

    Branches of a self-supervised run are given the probe; a supervised run answers its own task
    (the default) with its own head, as in the paper, and any other through a probe. `device` is
    PyTorch's, such as `cuda`; `label` names a progress bar. Raises `DataError` where `store` is not
    what the run was trained on, and that had classes.
    """
    encoders = load_encoders(run)
    unlabelled = any(frozen.data and frozen.data.unlabelled for frozen in encoders.values())
    if run.record.store_hash != store.hash and not unlabelled:
        raise DataError(
            f"{run.path} was trained on other data than {store.path}; for another cohort, "
            f"give mfl validate {run.path} {store.path}."
        )
    config = run.config
    task = config.arm.task if task is None else task
    answers = []
    for frozen in encoders.values():
        labelled = store.select(frozen.modality, task=build_task(task))
        if labelled.tested and labelled.learnable:
            what = f"{label} {frozen.name}" if label else None
            answers.append(answer(frozen, store, probe, task, config.seed, device, what))
    return answers


def answer_of(
    run: Run, branch: str, store: Store, probe: Probe, task: str, device: str = "cpu"
) -> Answer:
    """One branch of a finished run. Raises `ConfigError` where the run has no such branch."""
    answers = {a.frozen.name: a for a in evaluate(run, store, probe, device, task=task)}
    if branch not in answers:
        raise ConfigError(
            f"{run.path} has no branch '{branch}', only {', '.join(answers)}; give another "
            "--branch."
        )
    return answers[branch]


def open_store(run: Run, given: Path | None) -> Store:
    """A run's store: where it is given, else where it lay, seen from the run, in training.

    Raises `DataError` where there is none, or it is damaged.
    """
    path = given or run.config.store
    if given is None and not path.exists():
        raise no_store(path, run.path)
    return Store.open(path)


def no_store(path: Path, folder: Path) -> DataError:
    """Where the store of a run or a study is not where it was, seen from its folder."""
    return DataError(
        f"There is no store at {path}, where that of {folder} was; give --store FOLDER."
    )
