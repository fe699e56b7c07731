"""A store under the labels of a task that is named by its specification."""

from morefromless import tasks
from morefromless.data.store import Store
from morefromless.specs import build
from morefromless.tasks import Task


def labelled(store: Store, task: str) -> Store:  # removed when callers move to `Store.select`
    """`store` with the classes and labels of a task, such as `tissue` or `cell:by=area`.

    Raises `DataError` as `Store.select` does.
    """
    return store.select(task=build(task, tasks, Task))
