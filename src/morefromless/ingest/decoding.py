"""Items to patches of one size, by workers that also hash and write them, with bounded memory."""

import sys
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image

from morefromless.data.nuclei import ARRAY
from morefromless.data.patch_hashes import patch_hash
from morefromless.data.store import main_image
from morefromless.errors import ConfigError, DataError, UnreadablePatch, none_usable
from morefromless.ingest.parallel import forked, threaded
from morefromless.ingest.rows import Rows
from morefromless.ingest.shapes import ImageShape, Shape
from morefromless.sources import Item, Source

Arrays = dict[str, npt.NDArray[Any]]
Read = Arrays | str
"""What a source gave for one item, or the reason why it gave nothing."""

SAMPLE = 32
"""Items read first, to learn their size."""
BATCH, AHEAD = 4, 64
"""Items in a thread's batch, and batches that may be done while a shard is synced to the disk."""
FORKED_AHEAD = 8
"""Such batches of processes, of `Shape.batch` items."""
MANY = 1000
"""Items from which on processes are worth their start."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """What became of one item: the hash of its pixels, or the reason why it is rejected."""

    hash: str | None = None
    side: int | None = None
    """Side in pixels before any resizing."""
    reason: str | None = None
    absent: tuple[str, ...] = ()
    """Arrays that this patch lacks; zeros stand in their place."""
    omitted: Mapping[str, int] = {}
    """What the source left out of it: kind to number."""


def survey(
    source: Source, items: Sequence[Item], size: int | None, resize: int | None, workers: int
) -> tuple[Shape, dict[int, Read]]:
    """The shape of the patches, from a sample of them, and the sample itself, by index.

    The side of each array is `size`, else the commonest of the sample. Where nothing in the sample
    can be read, or it has no example of an optional array, the other items are read until there is
    one. Raises `DataError` where there is none in the whole source.
    """

    def read(index: int) -> tuple[int, Read]:
        return index, _read(source, items[index])

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
        kind, count = kinds(reasons.elements()).most_common(1)[0]
        reason = next(reason for reason in reasons if reason.partition(":")[0] == kind)
        raise none_usable(len(items), reason, count)
    for name in optional:
        if name not in examples:
            why = [f"; {count} others: '{reason}'" for reason, count in reasons.most_common(1)]
            raise DataError(f"None of the patches that can be used has {name}{''.join(why)}.")
    example = usable[0] | examples
    images = sorted(name for name in example if example[name].ndim == 3)
    sides = {name: size or _commonest_side(name, [*usable, example]) for name in images}
    shapes = {
        name: ImageShape(resize or sides[name], example[name].shape[2], str(example[name].dtype))
        for name in images
    }
    vectors = {name: len(example[name]) for name in sorted(example) if example[name].ndim == 1}
    expected = None if resize and not size else sides
    return Shape(shapes, expected, vectors, tuple(optional)), sample


def _commonest_side(name: str, patches: Sequence[Arrays]) -> int:
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
    """Decode the items of these indices into `rows`, and give their records in that order; those in
    `sample` are not read again.

    Many items of a source that is `fork_safe` are decoded in processes, because threads wait for
    Python's lock more than half of the time; others in threads. `missing="keep"` takes patches that
    lack an optional array.
    """
    processes = (
        workers > 1 and len(indices) >= MANY and source.fork_safe and sys.platform == "linux"
    )
    batch, ahead = (rows.shape.batch, FORKED_AHEAD) if processes else (BATCH, AHEAD)
    write = rows.hold if processes else rows.write

    def written(start: int) -> list[Record]:
        records = [_written(index) for index in indices[start : start + batch]]
        if processes:
            rows.flush()
        return records

    def _written(index: int) -> Record:
        read = sample.pop(index, None)
        read = _read(source, items[index]) if read is None else read
        record, arrays = _fit(read, rows.shape, missing, source.omitted(items[index]))
        if arrays:
            write(index, arrays)
        return record

    starts = range(0, len(indices), batch)
    # One process more than cores: another one waits for the disk.
    parallel = (
        forked(written, starts, workers + 1, ahead)
        if processes
        else threaded(written, starts, workers, ahead)
    )
    for records in parallel:
        yield from records


def _read(source: Source, item: Item) -> Read:
    try:
        arrays = source.read(item)
    except UnreadablePatch as problem:
        return str(problem)
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise _unusable(source, name, type(array).__name__)
        image = array.dtype in (np.uint8, np.uint16) and array.ndim == 3
        if not (image or (array.dtype == np.float32 and array.ndim == 1 and array.size)):
            raise _unusable(source, name, f"{array.dtype} {array.shape}")
        if not image and not np.isfinite(array).all():
            return f"not finite: value {int(np.argmin(np.isfinite(array)))} of {name}"
    sizes = [array.shape[:2] for array in arrays.values() if array.ndim == 3]
    if not sizes:
        return "no image: a patch needs one beside its vectors"
    for height, width in sizes:
        if height != width:
            return f"not square: {width} x {height}; cut square patches"
    return arrays


def _unusable(source: Source, name: str, what: str) -> ConfigError:
    """Where a source, which may be a person's own class, gives what no store holds."""
    return ConfigError(
        f"{type(source).__name__}.read gives '{name}' as {what}; it must give images (side, side, "
        "channels) uint8 or uint16, and vectors (length,) float32, as NumPy arrays."
    )


def _fit(
    read: Read, shape: Shape, missing: str, omitted: Mapping[str, int]
) -> tuple[Record, Arrays]:
    """A patch as it is stored; no arrays where it is rejected."""
    mismatch = read if isinstance(read, str) else _mismatch(read, shape, missing)
    if isinstance(read, str) or mismatch is not None:
        return Record(reason=mismatch, omitted=omitted), {}
    arrays = {
        name: array
        if name in shape.vectors
        else _resized(array, shape.images[name].side, name == ARRAY)
        for name, array in read.items()
    }
    digest = patch_hash(arrays)  # of what is there: zeros that were read are not an absence
    absent = tuple(name for name in shape.optional if name not in read)
    for name in absent:
        arrays[name] = np.zeros(shape.row(name).shape, shape.row(name).base)
    return Record(digest, _side(read, shape), absent=absent, omitted=omitted), arrays


def _mismatch(arrays: Arrays, shape: Shape, missing: str) -> str | None:
    """Why a patch does not fit the store, or None."""
    absent = [name for name in shape.optional if name not in arrays]
    if absent and missing != "keep":
        return f"no {', '.join(absent)}: this patch lacks it; --missing keep takes such patches"
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
            return f"another size: {of}{side} px, not {shape.expected[name]}; --resize takes all"
        if channels != image.channels or arrays[name].dtype != image.dtype:
            return (
                f"other channels: {of}{channels} of {arrays[name].dtype}, not {image.channels} of "
                f"{image.dtype}"
            )
    return None


def _side(arrays: Arrays, shape: Shape) -> int:
    """The side before resizing of the array that the magnification is of. Where the patch lacks it,
    another image gives the factor."""
    name = main_image(n for n, array in arrays.items() if array.ndim == 3)
    return len(arrays[name]) * shape.side // shape.images[name].side


def _resized(array: npt.NDArray[Any], side: int, labels: bool) -> npt.NDArray[Any]:
    """Area averages when shrinking, bicubic when growing; the nearest pixel of a label image."""
    if array.shape[0] == side:
        return array
    if labels:
        nearest = ((np.arange(side) + 0.5) * array.shape[0] / side).astype(np.intp)
        return np.ascontiguousarray(array[nearest[:, None], nearest])
    kernel = Image.Resampling.BOX if side < array.shape[0] else Image.Resampling.BICUBIC
    # In float32, for on bytes Pillow rounds once per direction, upwards.
    channels = [
        np.asarray(Image.fromarray(array[..., c].astype(np.float32)).resize((side, side), kernel))
        for c in range(array.shape[2])
    ]
    limit = np.iinfo(array.dtype).max
    return np.asarray(np.rint(np.stack(channels, axis=-1)).clip(0, limit), dtype=array.dtype)


def kinds(reasons: Iterable[str]) -> Counter[str]:
    """Reasons of rejection counted by kind: the words before the colon."""
    return Counter(reason.partition(":")[0] for reason in reasons)
