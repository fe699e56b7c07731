"""Tasks: what is predicted for a patch.

A task gives the label of each patch. Probes and supervised arms use the labels; other encoders
never see them. To add a task, add a file with one public class that derives from `Task`.
"""

import sys
from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from morefromless.data.store import Store
from morefromless.specs import Member, build, normalise


class Task(Member, ABC):
    """A classification task: one label per patch."""

    @abstractmethod
    def labels(self, store: Store) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        """Class names, and each patch's class (N,) as an index into them.

        Raises `DataError` if the store has no labels for the task.
        """


def build_task(spec: str) -> Task:
    """The task that `spec` names, e.g. `cell:by=area`."""
    return build(spec, sys.modules[__name__], Task)


def normalise_task(spec: str) -> str:
    """The canonical text of a spec: equal for all specs of the same task.

    >>> normalise_task("cell:by=number,ties=lowest")
    'cell:ties=lowest'
    """
    return normalise(spec, sys.modules[__name__], Task)
