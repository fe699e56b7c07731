"""Plain data and arrays from a joblib file, without running any of it.

A pickle is a program, which may name any function and call it. Here its steps are followed by a
machine that knows dictionaries, lists, tuples, numbers, text and numpy's arrays and scalars, and
that has no means of importing, calling or changing anything else: where a file asks for that it is
refused. Arrays of Python objects are refused too, for they are pickles of their own.
"""

import io
import math
import pickletools
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats._files import LARGEST, read_bytes, shown, too_large

MOST_STEPS = 2**24
"""Steps of a file, of which a nucleus takes some hundred; more would exhaust the memory."""

PICKLE = b"\x80"
PACKED = (b"\x78", b"\x1f\x8b")
"""What files begin with that are not packed, and those packed with zlib or gzip."""

DTYPE, NDARRAY, WRAPPER = "numpy.dtype", "numpy.ndarray", "joblib.numpy_pickle.NumpyArrayWrapper"
SCALAR = ("numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar")
RECONSTRUCT = ("numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct")
NAMES = {DTYPE, NDARRAY, WRAPPER, *SCALAR, *RECONSTRUCT}
"""All that a file may name. The names only stand for themselves; nothing is looked up."""

_KIND = re.compile(r"[biufUSO]\d{1,9}")


def read_joblib(path: Path) -> Any:
    """What `joblib.dump` wrote, plain or packed with zlib or gzip. Raises `UnreadablePatch`."""
    held = read_bytes(path)
    try:
        return _Machine(_unpacked(held, path)).run()
    except (
        ValueError,
        TypeError,
        LookupError,
        EOFError,
        OverflowError,
        AssertionError,
        zlib.error,
    ) as error:  # whatever a damaged file provokes
        raise UnreadablePatch(
            f"unreadable: {path.name} is no sound joblib file, or is truncated; write it again"
        ) from error


def _unpacked(held: bytes, path: Path) -> bytes:
    if held.startswith(PACKED):
        packed = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either of the two
        held = packed.decompress(held, LARGEST)
        if packed.unconsumed_tail:
            raise too_large(path)
        if not packed.eof:
            raise EOFError
    elif not held.startswith(PICKLE):
        raise UnreadablePatch(
            f"unreadable: {path.name} is no joblib file, plain or packed with zlib or gzip"
        )
    return held


@dataclass(frozen=True)
class _Name:
    """Stands for what the file calls by this name."""

    path: str


@dataclass
class _Kind:
    """A numpy type in the making: `i8`, and its byte order."""

    name: str
    order: str = "="

    def dtype(self) -> np.dtype[Any]:
        if not _KIND.fullmatch(self.name) or self.order not in ("<", ">", "=", "|"):
            raise _not_data(f"an array of type {self.name}")
        if self.name.startswith("O"):
            raise _not_data("an array of Python objects")
        return np.dtype(self.order + self.name)


@dataclass(eq=False)
class _Array:
    """An array in the making; `wrapped` where joblib put its numbers right behind the wrapper."""

    wrapped: bool
    value: npt.NDArray[Any] | None = None


def _not_data(what: str) -> UnreadablePatch:
    return UnreadablePatch(
        f"not data: the file asks for {shown(what)}, which is not run; write plain numbers and "
        "arrays"
    )


class _Machine:
    """Follows the steps of one pickle; its stack, marks and memo are those of the protocol."""

    def __init__(self, data: bytes) -> None:
        self.file, self.size = io.BytesIO(data), len(data)
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.steps: dict[str, Callable[[Any], None]] = {
            "NONE": lambda _: self.stack.append(None),
            "NEWTRUE": lambda _: self.stack.append(True),
            "NEWFALSE": lambda _: self.stack.append(False),
            "EMPTY_DICT": lambda _: self.stack.append({}),
            "EMPTY_LIST": lambda _: self.stack.append([]),
            "EMPTY_TUPLE": lambda _: self.stack.append(()),
            "TUPLE1": lambda _: self._tuple(1),
            "TUPLE2": lambda _: self._tuple(2),
            "TUPLE3": lambda _: self._tuple(3),
            "TUPLE": lambda _: self.stack.append(tuple(self._marked())),
            "LIST": lambda _: self.stack.append(self._marked()),
            "DICT": lambda _: self.stack.append(_pairs({}, self._marked())),
            "APPEND": lambda _: self._list([self.stack.pop()]),
            "APPENDS": lambda _: self._list(self._marked()),
            "SETITEM": lambda _: self._set([self.stack.pop(), self.stack.pop()][::-1]),
            "SETITEMS": lambda _: self._set(self._marked()),
            "MARK": lambda _: self.marks.append(len(self.stack)),
            "MEMOIZE": lambda _: self._keep(len(self.memo)),
            "GLOBAL": lambda name: self._name(name.replace(" ", ".", 1)),
            "STACK_GLOBAL": lambda _: self._name(
                ".".join(map(str, (self.stack.pop(), self.stack.pop())[::-1]))
            ),
            "REDUCE": lambda _: self._reduce(),
            "NEWOBJ": lambda _: self._reduce(),
            "BUILD": lambda _: self._build(),
            **dict.fromkeys(("PROTO", "FRAME"), lambda _: None),
            **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), self._keep),
            **dict.fromkeys(
                ("GET", "BINGET", "LONG_BINGET"),
                lambda place: self.stack.append(self.memo[int(place)]),
            ),
            **dict.fromkeys(
                (
                    "INT",
                    "BININT",
                    "BININT1",
                    "BININT2",
                    "LONG",
                    "LONG1",
                    "LONG4",
                    "FLOAT",
                    "BINFLOAT",
                    "UNICODE",
                    "SHORT_BINUNICODE",
                    "BINUNICODE",
                    "BINUNICODE8",
                    "SHORT_BINBYTES",
                    "BINBYTES",
                    "BINBYTES8",
                ),
                self.stack.append,
            ),
        }

    def run(self) -> Any:
        """What the file holds, arrays as `_Array`."""
        for count, (step, argument, _) in enumerate(pickletools.genops(self.file)):
            if step.name == "STOP":
                return self.stack.pop()
            if step.name not in self.steps:
                raise _not_data(f"the step {step.name}")
            if count > MOST_STEPS:
                raise UnreadablePatch(
                    f"too large: the file takes more than {MOST_STEPS:,} steps; export each image "
                    "by itself"
                )
            self.steps[step.name](argument)
        raise EOFError

    def _marked(self) -> list[Any]:
        place = self.marks.pop()
        held = self.stack[place:]
        del self.stack[place:]
        return held

    def _tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise EOFError
        held = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.stack.append(held)

    def _list(self, values: list[Any]) -> None:
        _of(list, self.stack[-1]).extend(values)

    def _set(self, values: list[Any]) -> None:
        _pairs(_of(dict, self.stack[-1]), values)

    def _keep(self, place: Any) -> None:
        self.memo[int(place)] = self.stack[-1]

    def _name(self, path: str) -> None:
        if path not in NAMES:
            raise _not_data(path)
        self.stack.append(_Name(path))

    def _reduce(self) -> None:
        """A call, of which four are understood: a type, a scalar, and two kinds of array."""
        given, called = _of(tuple, self.stack.pop()), _of(_Name, self.stack.pop()).path
        if called == DTYPE:
            self.stack.append(_Kind(_of(str, given[0])))
        elif called in SCALAR:
            kind, data = given
            (value,) = np.frombuffer(_of(bytes, data), _of(_Kind, kind).dtype())
            self.stack.append(value.item())
        elif called == WRAPPER or called in RECONSTRUCT:
            self.stack.append(_Array(wrapped=called == WRAPPER))
        else:
            raise _not_data(f"a new {called}")

    def _build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if isinstance(made, _Kind):
            made.order = _of(str, state[1])
        elif isinstance(made, _Array) and made.wrapped:
            state = _of(dict, state)
            dtype = _of(_Kind, state["dtype"]).dtype()
            if state.get("numpy_array_alignment_bytes") is not None:
                self.file.read(self.file.read(1)[0])
            count = _count(state["shape"]) * dtype.itemsize
            if count > self.size - self.file.tell():
                raise EOFError
            made.value = _shaped(
                self.file.read(count), dtype, state["shape"], state["order"] == "F"
            )
        elif isinstance(made, _Array):
            _, shape, kind, columns_first, data = state
            _count(shape)
            dtype = _of(_Kind, kind).dtype()
            made.value = _shaped(_of(bytes, data), dtype, shape, bool(columns_first))
        else:
            raise _not_data("changing an object")


def _pairs(made: dict[Any, Any], values: list[Any]) -> dict[Any, Any]:
    for key, value in zip(values[::2], values[1::2], strict=True):
        if not isinstance(key, (str, int)):
            raise _not_data(f"a key of type {type(key).__name__}")
        made[key] = value
    return made


def _of(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(kind.__name__)
    return value


def _count(shape: Any) -> int:
    if not isinstance(shape, tuple) or any(not isinstance(n, int) or n < 0 for n in shape):
        raise ValueError("shape")
    return math.prod(shape)


def _shaped(
    data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], columns_first: bool
) -> npt.NDArray[Any]:
    flat = np.frombuffer(data, dtype)
    return flat.reshape(shape[::-1]).T if columns_first else flat.reshape(shape)


def plain(value: Any) -> Any:
    """An array as such; everything else as it is."""
    return value.value if isinstance(value, _Array) else value
