"""A store under the labels of a task."""

import numpy as np

from morefromless import tasks
from morefromless.data.store import Store
from morefromless.errors import DataError
from morefromless.specs import build
from morefromless.tasks import Task


def labelled(store: Store, task: str) -> Store:
    """`store` with the classes and labels of a task, such as `tissue` or `cell:by=area`.

    Raises `DataError` where the store cannot pose it: nothing is known of it, or its training or
    test patches are all of one class.
    """
    asked = build(task, tasks, Task)
    classes, labels = asked.labels(store)
    for split in ("train", "test"):
        rows = store.indices(split)
        held = np.unique(labels[rows])
        if len(rows) and len(held) < 2:
            raise DataError(
                f"All {split} patches of {store.path} are '{classes[held[0]]}', so the task {task} "
                "asks nothing; ask another, such as cell."
            )
    return store.relabelled(classes, labels)
