"""A thread-safe least recently used (LRU) cache."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class LruCache(Generic[Value]):
    """Values by key; the `maxsize` most recently used ones are kept.

    The first thread that requests a value computes it; other threads wait for it.

    >>> cache = LruCache[int](2)
    >>> cache.get("a", lambda: 1), cache.get("a", lambda: 2)
    (1, 1)
    """

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self._values: OrderedDict[Hashable, Future[Value]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the value, or raise the error that computing it raised."""
        with self._lock:
            first = key not in self._values
            value = self._values.setdefault(key, Future())
            self._values.move_to_end(key)
            while len(self._values) > self.maxsize:
                self._values.popitem(last=False)
        if first:
            try:
                value.set_result(compute())
            except BaseException as error:
                value.set_exception(error)
        return value.result()
