"""The tissue class that the source names."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless.data.labels import tissue_classes
from morefromless.data.store import Store
from morefromless.tasks import Task


class Tissue(Task):
    """The class of a patch as its source names it: the paper's tissue-type task (2.1).

    If only some patches have a label, those without one are in no split of the task.
    """

    def labels(self, store: Store) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        classes = tissue_classes(store.classes)
        codes = pd.Categorical([*store.classes, None], categories=classes).codes
        return classes, codes[store.labels].astype(np.int64)
