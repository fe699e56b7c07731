"""Few-shot evaluation: probes that are fitted to a few labels per class."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import stdev

import numpy as np
import numpy.typing as npt
import torch

from morefromless.config import Probe
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.probes import build_probe
from morefromless.progress import Bar
from morefromless.questions import Question, Reply, Score
from morefromless.tasks import build_task


@dataclass(frozen=True)
class FewShot(Question):
    """Test accuracy with `shots` labels per class, over `draws` random draws of the labels.

    Example: `few-shot:shots=1/5/10/20,draws=20`. Labels are drawn from the training patches, the
    same for every branch. If a class has fewer patches, all of them are used.
    """

    shots: tuple[int, ...] = (1, 5, 10, 20)
    draws: int = 20

    def __post_init__(self) -> None:
        if min(self.shots, default=0) < 1 or self.draws < 1:
            raise ConfigError("few-shot needs shots and draws of 1 or more, such as shots=1/5/10.")

    def evaluate(
        self,
        encoders: Mapping[str, FrozenEncoder],
        store: Store,
        probe: Probe,
        task: str,
        device: str = "cpu",
    ) -> Reply:
        bar = Bar(encoders.values(), desc="few-shot", unit="branch")
        scores = [s for encoder in bar for s in self._scores(encoder, store, probe, task, device)]
        averaging = (
            f"mean ± standard deviation over {self.draws} draws" if self.draws > 1 else "one draw"
        )
        name = replace(probe, labels=1.0).name  # the shots replace `probe.labels`
        notes = [f"Accuracy of a {name} probe on the test patches: {averaging} of the labels."]
        if any(encoder.head is not None for encoder in encoders.values()):
            notes.append("The encoder of a supervised run was trained with all labels.")
        labelled = store.select(task=build_task(task))
        counts = np.bincount(labelled.labels[labelled.indices("train")])
        named = zip(labelled.classes, counts, strict=False)
        if few := [f"{name} {count}" for name, count in named if 0 < count < max(self.shots)]:
            notes.append(
                f"These classes have fewer training patches; all are used: {', '.join(few)}."
            )
        return Reply("Few labels per class, accuracy %", scores, notes)

    def _scores(
        self,
        frozen: FrozenEncoder,
        store: Store,
        probe: Probe,
        task: str,
        device: str,
    ) -> Iterator[Score]:
        store, method = store.select(frozen.modality, task=build_task(task)), build_probe(probe)
        if not (store.has_test_patches and store.can_train_probe):
            return
        train, test = (frozen.features(store, s, device).to(device) for s in ("train", "test"))
        labels, truth = (store.labels[store.indices(s)] for s in ("train", "test"))
        for shots in self.shots:
            accuracies = []
            for draw in range(self.draws):
                rows = draw_shots(labels, shots, draw)
                shot_labels = torch.from_numpy(labels[rows]).to(device)
                fitted_tensors = method.fit(
                    train[rows], shot_labels, len(store.classes), probe, draw
                )
                predictions = (
                    method.fitted(fitted_tensors).probabilities(test).argmax(1).cpu().numpy()
                )
                accuracies.append(float((predictions == truth).mean()))
            spread = stdev(accuracies) if self.draws > 1 else None
            yield Score(str(shots), frozen.name, float(np.mean(accuracies)), spread)


def draw_shots(labels: npt.NDArray[np.int64], shots: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw `shots` patches per class and return their indices: (N,) -> (n,).

    With the same seed, fewer shots give a subset of more shots.

    >>> draw_shots(np.array([0, 0, 0, 1]), 2, seed=0).tolist()
    [2, 0, 3]
    """
    rng = np.random.default_rng(seed)
    members = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    indices: npt.NDArray[np.int64] = np.concatenate([of_class[:shots] for of_class in members])
    return indices
