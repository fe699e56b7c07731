"""Items to patches of one size, in threads, with bounded memory."""

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from morefromless.data.nuclei import ARRAY
from morefromless.errors import DataError, UnreadablePatch
from morefromless.sources import Item, Source

T = TypeVar("T")
Arrays = dict[str, npt.NDArray[Any]]
Read = Arrays | str
"""What a source gave for one item, or the reason why it gave nothing."""

SAMPLE = 32
"""Items looked at to learn the size of the patches."""


@dataclass(frozen=True)
class Shape:
    """What every patch of the store has: images of one side, and vectors of known lengths."""

    images: tuple[str, ...]
    expected: int | None
    """Side that a source must give; None where every side is taken, to be resized."""
    side: int
    """Side as stored."""
    vectors: Mapping[str, int] = field(default_factory=dict)
    """Name to length."""
    optional: tuple[str, ...] = ()
    """Those of the arrays that a patch may lack."""

    @property
    def arrays(self) -> tuple[str, ...]:
        return (*self.images, *self.vectors)

    def row(self, name: str) -> np.dtype[Any]:
        """What is stored of one patch in an array."""
        if name in self.vectors:
            return np.dtype((np.float32, (self.vectors[name],)))
        return np.dtype((np.uint8, (self.side, self.side, 3)))


@dataclass(frozen=True)
class Decoded:
    """One item: its patch as it will be stored, or the reason why it is set aside."""

    index: int
    arrays: Arrays
    side: int | None = None
    """Side in pixels before any resizing."""
    hash: str | None = None
    reason: str | None = None
    absent: tuple[str, ...] = ()
    """Arrays that this patch lacks; zeros stand in their place."""


def survey(
    source: Source, items: Sequence[Item], size: int | None, resize: int | None, workers: int
) -> tuple[Shape, dict[int, Read]]:
    """The shape of the patches, from a sample of them, and the sample itself.

    The side is `size`, else the commonest of the sample. Raises `DataError` where nothing in the
    whole source can be read, or nothing of an optional array.
    """
    spread = np.unique(np.linspace(0, len(items) - 1, SAMPLE).astype(int)).tolist()
    seen = dict(_threaded(lambda i: (i, _read(source, items[i])), spread, workers))
    if all(isinstance(read, str) for read in seen.values()):
        rest = [index for index in range(len(items)) if index not in seen]
        for index, read in _threaded(lambda i: (i, _read(source, items[i])), rest, workers):
            seen[index] = read
            if not isinstance(read, str):
                break
    usable = [read for read in seen.values() if not isinstance(read, str)]
    if not usable:
        reason, count = Counter(str(read) for read in seen.values()).most_common(1)[0]
        raise DataError(
            f"None of the {len(items)} patches can be used; the commonest reason, "
            f"for {count}, is '{reason}'."
        )
    sides = Counter(_side(arrays) for arrays in usable)
    commonest = max(sides, key=lambda side: (sides[side], side))
    expected = size or (None if resize else commonest)
    optional = sorted(source.datasheet().optional)
    one = usable[0] | _first_of(optional, source, items, seen, workers)
    images = tuple(sorted(name for name in one if one[name].ndim == 3))
    vectors = {name: len(one[name]) for name in sorted(one) if one[name].ndim == 1}
    side = resize or expected or commonest
    return Shape(images, expected, side, vectors, tuple(optional)), seen


def _first_of(
    names: Sequence[str], source: Source, items: Sequence[Item], seen: dict[int, Read], workers: int
) -> Arrays:
    """One example of each optional array: from the sample, else from the first patch with it."""
    found: Arrays = {}
    reasons: Counter[str] = Counter()
    rest = [index for index in range(len(items)) if index not in seen]
    further = _threaded(lambda i: _read(source, items[i]), rest, workers)
    for read in itertools.chain(seen.values(), further):
        if isinstance(read, str):
            reasons[read] += 1
        else:
            found = {name: read[name] for name in names if name in read} | found
        if len(found) == len(names):
            return found
    lost = next(name for name in names if name not in found)
    why = [f"; of {count} others '{reason}' is said" for reason, count in reasons.most_common(1)]
    raise DataError(f"None of the patches that can be used has {lost}{''.join(why)}.")


def decode(
    source: Source,
    items: Sequence[Item],
    todo: Sequence[int],
    shape: Shape,
    seen: dict[int, Read],
    workers: int,
    keep: bool = False,
) -> Iterator[Decoded]:
    """Decode the items numbered `todo`, in that order; those in `seen` are not read again.

    `keep` takes patches that lack an optional array.
    """

    def one(index: int) -> Decoded:
        read = seen.pop(index, None)
        return _fit(index, _read(source, items[index]) if read is None else read, shape, keep)

    return _threaded(one, todo, workers)


def patch_hash(arrays: Arrays) -> str:
    """blake2b-128 of a patch: name, shape and bytes of each array, in the names' order."""
    digest = blake2b(digest_size=16)
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _read(source: Source, item: Item) -> Read:
    try:
        arrays = source.read(item)
    except UnreadablePatch as problem:
        return str(problem)
    for name, array in arrays.items():
        image = array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3
        if not (image or (array.dtype == np.float32 and array.ndim == 1 and array.size)):
            raise TypeError(f"{type(source).__name__} gave {name} {array.dtype} {array.shape}")
        if not image and not np.isfinite(array).all():
            return f"not finite: value {int(np.argmin(np.isfinite(array)))} of {name}"
    sizes = {array.shape[:2] for array in arrays.values() if array.ndim == 3}
    if not sizes:
        return "no image: a patch needs one beside its vectors"
    height, width = sizes.pop()
    if sizes:
        return "arrays differ in size: give all arrays of a patch the same size"
    if height != width:
        return f"not square: {width} x {height}; cut square patches"
    return arrays


def _fit(index: int, read: Read, shape: Shape, keep: bool) -> Decoded:
    if isinstance(read, str):
        return Decoded(index, {}, reason=read)
    side = _side(read)
    if shape.expected not in (None, side):
        reason = f"another size: {side} px, not {shape.expected}; --resize takes all sizes"
        return Decoded(index, {}, reason=reason)
    absent = tuple(name for name in shape.optional if name not in read)
    if absent and not keep:
        reason = f"no {', '.join(absent)}: this patch lacks it; --missing keep takes such patches"
        return Decoded(index, {}, reason=reason)
    if {*read, *absent} != set(shape.arrays):
        return Decoded(index, {}, reason=f"other arrays: {', '.join(sorted(read))}")
    for name, length in shape.vectors.items():
        if name not in absent and read[name].shape != (length,):
            reason = f"another length: {name} is {read[name].shape}, not {length} values"
            return Decoded(index, {}, reason=reason)
    arrays = {
        name: array if name in shape.vectors else _resized(array, shape.side, name == ARRAY)
        for name, array in read.items()
    }
    held = patch_hash(arrays)  # of what is there: zeros that were read are not an absence
    for name in absent:
        arrays[name] = np.zeros(shape.row(name).shape, shape.row(name).base)
    return Decoded(index, arrays, side, held, absent=absent)


def _side(arrays: Arrays) -> int:
    return next(int(array.shape[0]) for array in arrays.values() if array.ndim == 3)


def _resized(array: npt.NDArray[np.uint8], side: int, labels: bool) -> npt.NDArray[np.uint8]:
    """Area averages when shrinking, bicubic when growing; the nearest pixel of a label image."""
    if array.shape[0] == side:
        return array
    if labels:
        nearest = ((np.arange(side) + 0.5) * array.shape[0] / side).astype(np.intp)
        return np.ascontiguousarray(array[nearest[:, None], nearest])
    shrinks = side < array.shape[0]
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    # In float32, for on bytes Pillow rounds once per direction, upwards.
    channels = [
        np.asarray(Image.fromarray(array[..., c].astype(np.float32)).resize((side, side), how))
        for c in range(3)
    ]
    rounded = np.rint(np.stack(channels, axis=-1)).clip(0, 255)
    return np.asarray(rounded, dtype=np.uint8)


def _threaded(call: Callable[[int], T], indices: Iterable[int], workers: int) -> Iterator[T]:
    """Results in order; never more than a few per worker are waiting, so memory stays flat."""
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[T]] = deque()
    try:
        for index in indices:
            waiting.append(pool.submit(call, index))
            if len(waiting) >= 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
