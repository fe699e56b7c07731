"""Another cohort: patches of another store, which encoders and probes were not fitted to."""

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
    """The test patches of a store, asked about with probes that were fitted to another one."""

    store: Store
    folder: Path
    """Where the encoders' features of it are cached."""
    tasks: Mapping[str, "SharedTask"]
    """By specification."""
    unseen: Mapping[str, str] = field(default_factory=dict)
    """Modalities that its patches cannot be seen in, each with the reason."""

    def features(self, frozen: FrozenEncoder, device: str = "cpu") -> Tensor:
        """Representations (N, width) of its test patches that have the encoder's modality."""
        in_cohort = replace(frozen, folder=self.folder / frozen.folder_name)
        return in_cohort.features(self.store, "test", device)

    def ask(self, answer: Answer, device: str = "cpu") -> npt.NDArray[np.float32]:
        """What an answer's probe, or the encoder's head, says of those that its task asks: (N,
        classes)."""
        modality, task = answer.frozen.modality, self.tasks[answer.task]
        asked = self.store.select(modality, task=task, check=False).indices("test")
        rows = np.isin(self.store.select(modality).indices("test"), asked)
        features = self.features(answer.frozen, device)[rows]
        probabilities: npt.NDArray[np.float32] = answer.probe.probabilities(features).cpu().numpy()
        return probabilities


@dataclass(frozen=True)
class SharedTask:
    """A task whose classes have the same names and order in two stores.

    `classes` are those of the store that encoders were trained on; `renamed` gives some of them
    another name, and one name to several makes one class of them. The other store may lack classes
    and may not have further ones; what the task gives no class stays without.
    """

    task: HasLabels
    classes: Sequence[str]
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes under their new names."""
        return tuple(dict.fromkeys(self.renamed.get(name, name) for name in self.classes))

    def labels(self, store: Store) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        """As a `Task`'s. Raises `DataError` where a test patch has a class that is no other's."""
        names, labels = self.task.labels(store)
        codes = np.array([*map(self._code, names), -1])  # the last of patches without a class, -1
        present = np.unique(labels[store.indices("test")])
        unknown = [names[label] for label in present if label >= 0 and codes[label] < 0]
        if unknown:
            raise DataError(
                f"{store.path} has {quoted(unknown)}, and the classes that were learnt are "
                f"{quoted(self.names)}; ingest it again with --classes or --drop, "
                "or give mfl validate --classes for those that were learnt."
            )
        return self.names, codes.astype(np.int64)[labels]

    def merged(self, probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Probabilities (N, classes) under the new names: those of one class add up."""
        merged = np.zeros((len(probabilities), len(self.names)))
        for column, name in enumerate(self.classes):
            merged[:, self._code(name)] += probabilities[:, column]
        return merged

    def _code(self, name: str) -> int:
        """Place of a class among `names`, under its old or its new name; -1 where it has none."""
        new = self.renamed.get(name, name)
        return self.names.index(new) if new in self.names else -1
