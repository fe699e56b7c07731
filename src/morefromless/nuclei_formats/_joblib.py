"""Read plain data and arrays from a joblib file without executing code.

A pickle is a program, which can name any function and call it. This module restricts joblib's own
reader to a short list of opcodes and names: dictionaries, lists, tuples, numbers, text, and numpy
arrays and scalars. A file that needs anything else is refused. Arrays of Python objects are refused
too, because they contain further pickles. Sizes are checked before memory is allocated.
"""

import io
import math
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler

from morefromless.documents import GZIP_MAGIC, ZLIB_MAGIC, decompress
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats._files import plain
from morefromless.regular import read_regular

MOST_STEPS = 2**24
"""Most opcodes of a file, to limit memory; a nucleus takes about a hundred."""

SIGNATURES = (b"\x80", GZIP_MAGIC, ZLIB_MAGIC)
"""First bytes of plain and of compressed files."""

STEPS = (
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT "
    "BINFLOAT UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 "
    "EMPTY_DICT EMPTY_LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 LIST APPEND APPENDS SETITEM "
    "SETITEMS MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE "
    "NEWOBJ BUILD"
)
_DTYPE = re.compile(r"[biufUSO]\d{1,9}")


def read_joblib(path: Path) -> Any:
    """Read a file of `joblib.dump`, plain or compressed with zlib or gzip. Raises
    `UnreadablePatch`."""
    data = read_regular(path)
    try:
        return _DataUnpickler(_decompressed(data, path)).load()
    except (
        pickle.UnpicklingError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        EOFError,
        OverflowError,
        AssertionError,
        struct.error,
    ) as error:  # a damaged file can cause any of these
        raise UnreadablePatch(
            f"unreadable: {path.name} is not a valid joblib file, or is truncated; write it again"
        ) from error


def _decompressed(data: bytes, path: Path) -> bytes:
    if not data.startswith(SIGNATURES):
        raise UnreadablePatch(
            f"unreadable: {path.name} is not a joblib file, plain or compressed with zlib or gzip"
        )
    return decompress(data, path)


def _not_data(what: str) -> UnreadablePatch:
    return UnreadablePatch(
        f"not data: the file needs {plain(what)}, which is not executed; write plain numbers and "
        "arrays"
    )


class _Wrapper(NumpyArrayWrapper):  # type: ignore[misc]
    """joblib's placeholder for an array, whose data follow it in the file."""

    def __init__(self) -> None:
        """The opcode BUILD sets the attributes."""


class _Steps(dict[int, Any]):
    """Handlers of the allowed opcodes; each look-up is counted."""

    count = 0

    def __getitem__(self, code: int) -> Any:
        self.count += 1
        if self.count > MOST_STEPS:
            raise UnreadablePatch(
                f"too large: the file takes more than {MOST_STEPS:,} steps; export each image "
                "separately"
            )
        return super().__getitem__(code)

    def __missing__(self, code: int) -> Any:
        raise _not_data(f"the step {code}")


class _DataUnpickler(NumpyUnpickler):  # type: ignore[misc]
    """joblib's reader, restricted to the opcodes `STEPS` and to five names."""

    dispatch: Any

    def __init__(self, data: bytes) -> None:
        super().__init__("", io.BytesIO(data), ensure_native_byte_order=False)
        self.size = len(data)
        codes = [getattr(pickle, name)[0] for name in STEPS.split()]
        checked = {
            pickle.SETITEM[0]: _DataUnpickler.set_item,
            pickle.SETITEMS[0]: _DataUnpickler.set_items,
            pickle.REDUCE[0]: _DataUnpickler.call,
            pickle.NEWOBJ[0]: _DataUnpickler.call,
            pickle.BUILD[0]: _DataUnpickler.build,
        }
        self.dispatch = _Steps({code: self.dispatch[code] for code in codes} | checked)

    def find_class(self, module: str, name: str) -> Any:
        match module.replace("numpy.core.", "numpy._core."), name:
            case "numpy", "dtype":
                return _dtype
            case "numpy", "ndarray":
                return "numpy.ndarray"  # occurs only as an argument
            case "numpy._core.multiarray", "scalar":
                return _scalar
            case "numpy._core.multiarray", "_reconstruct":
                return _empty
            case "joblib.numpy_pickle", "NumpyArrayWrapper":
                return _Wrapper
        raise _not_data(f"{module}.{name}")

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not any(function is known for known in (_dtype, _scalar, _empty, _Wrapper)):
            raise _not_data("a call of something other than a known function")
        self.append(function(*arguments))

    def build(self) -> None:
        state, target = self.stack[-1], self.stack[-2]
        if isinstance(target, np.dtype):
            order = state[1]
            if order not in ("<", ">", "=", "|"):
                raise ValueError(order)
            state = target.newbyteorder(order).__reduce__()[2]  # from numpy, not from the file
        elif isinstance(target, np.ndarray):
            _, shape, dtype, _, data = state
            if not isinstance(data, bytes) or _size(shape, dtype) != len(data):
                raise ValueError("an array of another size")
        elif isinstance(target, _Wrapper):
            if _size(state["shape"], state["dtype"]) > self.size - self.file_handle.tell():
                raise EOFError
            known = ("shape", "order", "dtype", "numpy_array_alignment_bytes")
            state = {key: state[key] for key in known if key in state} | {"subclass": np.ndarray}
        else:
            raise _not_data("changing an object")
        self.stack[-1] = state
        self.load_build()

    def set_item(self) -> None:
        _check_keys(self.stack[-3], self.stack[-2:-1])
        self.load_setitem()

    def set_items(self) -> None:
        _check_keys(self.metastack[-1][-1], self.stack[::2])
        self.load_setitems()


def _check_keys(target: Any, keys: list[Any]) -> None:
    if not isinstance(target, dict):
        raise TypeError("not a dictionary")
    for key in keys:  # hashing deeply nested tuples would overflow the stack
        if not isinstance(key, (str, int)):
            raise _not_data(f"a key of type {type(key).__name__}")


def _size(shape: Any, dtype: Any) -> int:
    """Size in bytes of an array of numbers or text."""
    if not isinstance(dtype, np.dtype) or dtype.itemsize == 0:
        raise ValueError(dtype)
    if not isinstance(shape, tuple) or any(not isinstance(n, int) or n < 0 for n in shape):
        raise ValueError(shape)
    return math.prod(shape) * dtype.itemsize


def _dtype(name: str, *_: Any) -> np.dtype[Any]:
    if not _DTYPE.fullmatch(name):
        raise _not_data(f"an array of type {name}")
    if name.startswith("O"):
        raise _not_data("an array of Python objects")
    return np.dtype(name, copy=True)


def _scalar(dtype: np.dtype[Any], data: bytes) -> Any:
    if _size((), dtype) != len(data):
        raise ValueError(data)
    return np.frombuffer(data, dtype)[0].item()


def _empty(*_: Any) -> Any:
    return np.empty(0, np.int8)
