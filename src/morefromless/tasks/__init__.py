"""Tasks: what is predicted of a patch. An open set.

A task says which label each patch has; encoders never see it, probes and supervised arms do. To
add one, add a file with one public class deriving from `Task`.
"""

import sys
from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from morefromless.data.store import Store
from morefromless.specs import Member, build, normalise


class Task(Member, ABC):
    """One question that is asked of every patch."""

    @abstractmethod
    def labels(self, store: Store) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        """Class names, and each patch's class (N,) as an index into them.

        Raises `DataError` where the store does not know what is asked.
        """


def build_task(spec: str) -> Task:
    """The task that `spec` names, e.g. `cell:by=area`."""
    return build(spec, sys.modules[__name__], Task)


def normalise_task(spec: str) -> str:
    """The one text of all specifications of the same task.

    >>> normalise_task("cell:by=number,ties=lowest")
    'cell:ties=lowest'
    """
    return normalise(spec, sys.modules[__name__], Task)
