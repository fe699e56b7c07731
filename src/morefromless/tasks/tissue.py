"""The tissue class that the source names."""

import numpy as np
import numpy.typing as npt

from morefromless.data.store import Store
from morefromless.tasks import Task


class Tissue(Task):
    """The class of a patch as its source names it: the paper's tissue-type task (2.1)."""

    def labels(self, store: Store) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        return store.classes, store.labels
