"""External validation: evaluate encoders and probes on another store, without fitting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from morefromless.data.store import HasLabels, Store
from morefromless.errors import DataError, quoted
from morefromless.evaluation.evaluate import Answer
from morefromless.evaluation.frozen import FrozenEncoder


@dataclass(frozen=True, eq=False)
class Cohort:
    """Test patches of a store, for the evaluation of probes that were fitted on another store."""

    store: Store
    folder: Path
    """Cache folder for the encoders' features."""
    tasks: Mapping[str, "SharedTask"]
    """Tasks by specification."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Modalities that are not available for its patches, each with the reason."""

    def features(self, frozen: FrozenEncoder, device: str = "cpu") -> Tensor:
        """Representations (N, width) of the test patches that have the encoder's modality."""
        in_cohort = replace(frozen, folder=self.folder / frozen.folder_name)
        return in_cohort.features(self.store, "test", device)

    def evaluate(self, answer: Answer, device: str = "cpu") -> npt.NDArray[np.float32]:
        """Predict, with an answer's probe or head, the test patches that have a label of its task:
        probabilities (N, classes)."""
        modality, task = answer.frozen.modality, self.tasks[answer.task]
        labelled_rows = self.store.select(modality, task=task, check=False).indices("test")
        rows = np.isin(self.store.select(modality).indices("test"), labelled_rows)
        features = self.features(answer.frozen, device)[rows]
        probabilities: npt.NDArray[np.float32] = answer.probe.probabilities(features).cpu().numpy()
        return probabilities


@dataclass(frozen=True)
class SharedTask:
    """A task whose classes have the same names and order in two stores.

    `classes` are the classes of the training store. `renamed` maps some of them to new names;
    classes with the same new name are merged. The other store may have a subset of the classes, but
    no additional ones. Patches without a class remain without a class.
    """

    task: HasLabels
    classes: Sequence[str]
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes with their new names."""
        return tuple(dict.fromkeys(self.renamed.get(name, name) for name in self.classes))

    def labels(self, store: Store) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        """Like `Task.labels`. Raises `DataError` if a test patch has a class that is not shared."""
        names, labels = self.task.labels(store)
        codes = np.array([*map(self._code, names), -1])  # last entry: patches without a class, -1
        present = np.unique(labels[store.indices("test")])
        unknown = [names[label] for label in present if label >= 0 and codes[label] < 0]
        if unknown:
            raise DataError(
                f"{store.path} has {quoted(unknown)}, but the trained classes are "
                f"{quoted(self.names)}; ingest it again with --classes or --drop, "
                "or rename the trained classes with mfl validate --classes."
            )
        return self.names, codes.astype(np.int64)[labels]

    def merged(self, probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Probabilities (N, classes) of the new classes; those of merged classes are summed."""
        merged = np.zeros((len(probabilities), len(self.names)))
        for column, name in enumerate(self.classes):
            merged[:, self._code(name)] += probabilities[:, column]
        return merged

    def _code(self, name: str) -> int:
        """Index in `names` of a class given by its old or new name, or -1."""
        new = self.renamed.get(name, name)
        return self.names.index(new) if new in self.names else -1
