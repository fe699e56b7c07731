"""Decode items to patches of one size. Workers also hash and write them. Memory is bounded."""

import sys
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image

from morefromless.data.areas import nearest_pixels
from morefromless.data.nuclei import NUCLEI_ARRAY
from morefromless.data.patch_hashes import patch_hash
from morefromless.data.store import main_image
from morefromless.errors import ConfigError, DataError, UnreadablePatch, none_usable
from morefromless.ingest.parallel import forked, threaded
from morefromless.ingest.rows import Rows
from morefromless.ingest.shapes import ImageShape, Shape
from morefromless.sources import Item, Source

Arrays = dict[str, npt.NDArray[Any]]
Read = Arrays | str
"""The arrays of one item, or the reason why it cannot be used."""

SAMPLE = 32
"""Number of items read first to find the shape of the patches."""
BATCH, PENDING_BATCHES = 4, 64
"""Threads: items per batch, and batches that may be decoded while a shard is synced to disk."""
FORKED_PENDING_BATCHES = 8
"""Processes: the same number of batches, of `Shape.batch` items each."""
MIN_FORKED_ITEMS = 1000
"""Minimum number of items for which starting processes pays off."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """The result of decoding one item: the hash of its pixels, or the reason for its rejection."""

    hash: str | None = None
    side: int | None = None
    """Side in px before resizing."""
    reason: str | None = None
    absent: tuple[str, ...] = ()
    """Arrays missing from this patch. They are stored as zeros."""
    omitted: Mapping[str, int] = {}
    """Parts of the item that the source skipped: kind -> count."""


def survey(
    source: Source, items: Sequence[Item], size: int | None, resize: int | None, workers: int
) -> tuple[Shape, dict[int, Read]]:
    """Find the shape of the patches from a sample. Returns it and the sample (index -> `Read`).

    The side of each array is `size`, else the most common side in the sample. If no item of the
    sample can be used, or none has a certain optional array, the other items are read until one is
    found. Raises `DataError` if the whole source has none.
    """

    def read(index: int) -> tuple[int, Read]:
        return index, _read_item(source, items[index])

    spread = np.unique(np.linspace(0, len(items) - 1, SAMPLE).astype(int)).tolist()
    sample = dict(threaded(read, spread, workers))
    usable = [arrays for arrays in sample.values() if not isinstance(arrays, str)]
    reasons = Counter(reason for reason in sample.values() if isinstance(reason, str))
    optional = sorted(source.datasheet().optional)
    examples = {
        name: arrays[name] for arrays in usable[::-1] for name in optional if name in arrays
    }
    if not usable or len(examples) < len(optional):
        others = (index for index in range(len(items)) if index not in sample)
        for _, further in threaded(read, others, workers):
            if isinstance(further, str):
                reasons[further] += 1
                continue
            usable = usable or [further]
            examples = {name: further[name] for name in optional if name in further} | examples
            if len(examples) == len(optional):
                break
    if not usable:
        raise none_usable(len(items), *most_frequent(reasons))
    for name in optional:
        if name not in examples:
            why = [
                f"; {count} patches were rejected: '{reason}'"
                for reason, count in reasons.most_common(1)
            ]
            raise DataError(f"None of the usable patches has {name}{''.join(why)}.")
    example = usable[0] | examples
    images = sorted(name for name in example if example[name].ndim == 3)
    sides = {name: size or _most_common_side(name, [*usable, example]) for name in images}
    shapes = {
        name: ImageShape(resize or sides[name], example[name].shape[2], str(example[name].dtype))
        for name in images
    }
    vectors = {name: len(example[name]) for name in sorted(example) if example[name].ndim == 1}
    expected = None if resize and not size else sides
    return Shape(shapes, expected, vectors, tuple(optional)), sample


def _most_common_side(name: str, patches: Sequence[Arrays]) -> int:
    sides = Counter(len(arrays[name]) for arrays in patches if name in arrays)
    return max(sides, key=lambda side: (sides[side], side))


def decode(
    source: Source,
    items: Sequence[Item],
    indices: Sequence[int],
    rows: Rows,
    sample: dict[int, Read],
    workers: int,
    missing: str,
) -> Generator[Record, None, None]:
    """Decode the items at `indices` into `rows` and yield their records in that order.

    Items in `sample` are not read again. On Linux, processes decode the items if there are many
    and the source is `fork_safe`, because threads wait for Python's global lock more than half of
    the time. Otherwise threads decode them. `missing="keep"` accepts patches without optional
    arrays.
    """
    processes = (
        workers > 1
        and len(indices) >= MIN_FORKED_ITEMS
        and source.fork_safe
        and sys.platform == "linux"
    )
    batch, ahead = (
        (rows.shape.batch, FORKED_PENDING_BATCHES) if processes else (BATCH, PENDING_BATCHES)
    )
    write = rows.buffer if processes else rows.write

    def decode_batch(start: int) -> list[Record]:
        records = [decode_item(index) for index in indices[start : start + batch]]
        if processes:
            rows.flush()
        return records

    def decode_item(index: int) -> Record:
        read = sample.pop(index, None)
        read = _read_item(source, items[index]) if read is None else read
        record, arrays = _fit(read, rows.shape, missing, source.skipped_parts(items[index]))
        if arrays:
            write(index, arrays)
        return record

    starts = range(0, len(indices), batch)
    # One more process than cores, because one usually waits for the disk.
    parallel = (
        forked(decode_batch, starts, workers + 1, ahead)
        if processes
        else threaded(decode_batch, starts, workers, ahead)
    )
    for records in parallel:
        yield from records


def _read_item(source: Source, item: Item) -> Read:
    try:
        arrays = source.read(item)
    except UnreadablePatch as problem:
        return str(problem)
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise _unsupported(source, name, type(array).__name__)
        image = array.dtype in (np.uint8, np.uint16) and array.ndim == 3
        if not (image or (array.dtype == np.float32 and array.ndim == 1 and array.size)):
            raise _unsupported(source, name, f"{array.dtype} {array.shape}")
        if not image and not np.isfinite(array).all():
            return f"not finite: value {int(np.argmin(np.isfinite(array)))} of {name}"
    sizes = [array.shape[:2] for array in arrays.values() if array.ndim == 3]
    if not sizes:
        return "no image: a patch needs an image in addition to vectors"
    for height, width in sizes:
        if height != width:
            return f"not square: {width} x {height}; cut square patches"
    return arrays


def _unsupported(source: Source, name: str, what: str) -> ConfigError:
    """The error for a `read` (perhaps of a user's own class) that returns unsupported values."""
    return ConfigError(
        f"{type(source).__name__}.read returns '{name}' as {what}; it must return NumPy arrays: "
        "images (side, side, channels) uint8 or uint16, or vectors (length,) float32."
    )


def _fit(
    read: Read, shape: Shape, missing: str, omitted: Mapping[str, int]
) -> tuple[Record, Arrays]:
    """The record and the stored arrays of a patch. No arrays if it is rejected."""
    mismatch = read if isinstance(read, str) else _mismatch(read, shape, missing)
    if isinstance(read, str) or mismatch is not None:
        return Record(reason=mismatch, omitted=omitted), {}
    arrays = {
        name: array
        if name in shape.vectors
        else _resized(array, shape.images[name].side, name == NUCLEI_ARRAY)
        for name, array in read.items()
    }
    # Hash present arrays only, because zeros that were read differ from a missing array.
    digest = patch_hash(arrays)
    absent = tuple(name for name in shape.optional if name not in read)
    for name in absent:
        arrays[name] = np.zeros(shape.row(name).shape, shape.row(name).base)
    return Record(digest, _side(read, shape), absent=absent, omitted=omitted), arrays


def _mismatch(arrays: Arrays, shape: Shape, missing: str) -> str | None:
    """The reason why a patch does not fit the store, or None."""
    absent = [name for name in shape.optional if name not in arrays]
    if absent and missing != "keep":
        return f"no {', '.join(absent)}: this patch has none; --missing keep accepts such patches"
    if {*arrays, *absent} != set(shape.arrays):
        return f"other arrays: {', '.join(sorted(arrays))}"
    for name, length in shape.vectors.items():
        if name in arrays and arrays[name].shape != (length,):
            return f"another length: {name} is {arrays[name].shape}, not {length} values"
    for name, image in shape.images.items():
        if name not in arrays:
            continue
        side, _, channels = arrays[name].shape
        of = f"{name} is " if len(shape.images) > 1 else ""
        if shape.expected is not None and side != shape.expected[name]:
            return (
                f"another size: {of}{side} px, not {shape.expected[name]}; "
                "--resize accepts all sizes"
            )
        if channels != image.channels or arrays[name].dtype != image.dtype:
            return (
                f"other channels: {of}{channels} of {arrays[name].dtype}, not {image.channels} of "
                f"{image.dtype}"
            )
    return None


def _side(arrays: Arrays, shape: Shape) -> int:
    """Side before resizing of the array that defines the magnification.

    If the patch has no such array, the side is computed from the resize factor of another image.
    """
    name = main_image(n for n, array in arrays.items() if array.ndim == 3)
    return len(arrays[name]) * shape.side // shape.images[name].side


def _resized(array: npt.NDArray[Any], side: int, labels: bool) -> npt.NDArray[Any]:
    """Resize by area averages (shrinking) or bicubic (growing). Label images use nearest pixels."""
    if array.shape[0] == side:
        return array
    if labels:
        nearest = nearest_pixels(len(array), side)
        return np.ascontiguousarray(array[nearest[:, None], nearest])
    kernel = Image.Resampling.BOX if side < array.shape[0] else Image.Resampling.BICUBIC
    # In float32, because on uint8 Pillow rounds once per direction, upwards.
    channels = [
        np.asarray(Image.fromarray(array[..., c].astype(np.float32)).resize((side, side), kernel))
        for c in range(array.shape[2])
    ]
    limit = np.iinfo(array.dtype).max
    return np.asarray(np.rint(np.stack(channels, axis=-1)).clip(0, limit), dtype=array.dtype)


def count_kinds(reasons: Iterable[str]) -> Counter[str]:
    """Count rejection reasons by kind, the words before the colon."""
    return Counter(reason.partition(":")[0] for reason in reasons)


def most_frequent(reasons: Counter[str]) -> tuple[str, int]:
    """Return the first reason of the most frequent kind, and the number of reasons of this kind."""
    kind, count = count_kinds(reasons.elements()).most_common(1)[0]
    return next(reason for reason in reasons if reason.partition(":")[0] == kind), count
