"""Label images in files: integers, of the image's size, with one type per instance."""

from typing import Any

import numpy as np
import numpy.typing as npt

from morefromless.errors import UnreadablePatch

Numbers = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.int32]
"""(H, W) integers."""


def to_int32(values: Any, what: str) -> Mask:
    """Convert an array of integers of any shape to int32; error messages call it `what`.

    Floats are accepted if they are integers, as MATLAB and PanNuke write them. Raises
    `UnreadablePatch` for fractions, non-numbers, and numbers beyond 32 bits.
    """
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        kind = getattr(values, "dtype", type(values).__name__)
        raise UnreadablePatch(f"not a mask: {what} holds {kind}; store integers")
    with np.errstate(invalid="ignore"):  # NaN and infinity
        fractions = values.dtype.kind == "f" and not (values == np.rint(values)).all()
    if fractions:
        raise UnreadablePatch(f"float mask: {what} holds fractions; store integers")
    if values.size and not -(2**31) <= values.min() <= values.max() < 2**31:
        raise UnreadablePatch(f"not a mask: {what} holds numbers beyond 32 bits; renumber it")
    return values.astype(np.int32, order="C")  # MATLAB arrays are column-major


def check_mask(values: npt.NDArray[Any], image: tuple[int, ...], what: str) -> None:
    """Raise `UnreadablePatch` unless the array is (H, W) like the image; errors call it `what`."""
    if values.ndim == 2:
        check_size(values.shape, image)
        return
    if values.ndim == 3 and values.shape[2] in (3, 4):
        raise UnreadablePatch(f"colour mask: {what} has {values.shape[2]} channels; store integers")
    shape = " x ".join(map(str, values.shape))
    raise UnreadablePatch(f"not a mask: {what} is {shape}; store height x width")


def check_size(mask: tuple[int, ...], image: tuple[int, ...]) -> None:
    """Raise `UnreadablePatch` unless mask and image have equal height and width."""
    if mask[:2] != image[:2]:
        raise UnreadablePatch(
            f"another size: mask {mask[1]} x {mask[0]}, image {image[1]} x {image[0]}; "
            "give the mask of this image"
        )


def majority_types(instances: Mask, types: Mask) -> dict[int, int | None]:
    """Majority type of each instance, by ascending id, from an instance map and a type map (H, W).

    None if most pixels of an instance have no type. Raises `UnreadablePatch` if neither a type nor
    the untyped pixels cover more than half of an instance, and for typed pixels outside instances.

    >>> majority_types(np.array([[1, 1, 1, 4]]), np.array([[2, 2, 5, 3]]))
    {1: 2, 4: 3}
    """
    stray = int(((types != 0) & (instances == 0)).sum())
    if stray:
        raise UnreadablePatch(
            f"type without an instance: {stray} px have a type but no id; add the id or remove the "
            "type"
        )
    inside = instances != 0
    ids, areas = np.unique(instances[inside], return_counts=True)
    _, winners, counts = most_common_values(instances[inside], types[inside])
    mixed = ids[2 * counts <= areas]
    if len(mixed):
        raise UnreadablePatch(
            f"instance of several types: id {mixed[0]} has no type on more than half of its "
            "pixels; give it one type"
        )
    return {int(k): (int(raw) if raw else None) for k, raw in zip(ids, winners, strict=True)}


def most_common_values(groups: Numbers, values: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Groups (G,) in ascending order, the most common value of each group, and its count.

    Of equally common values, the smallest is used. `groups` and `values` (N,) are 32-bit numbers.
    Uses memory proportional to N; a full table of groups and values could be too large.

    >>> groups, values = np.array([4, 4, 4, 1]), np.array([2, 5, 2, 3])
    >>> [part.tolist() for part in most_common_values(groups, values)]
    [[1, 4], [3, 2], [1, 2]]
    """
    smallest = int(values.min(initial=0))
    width = int(values.max(initial=0)) - smallest + 1
    pairs = groups.astype(np.int64) * width + (values.astype(np.int64) - smallest)
    pairs, counts = np.unique(pairs, return_counts=True)
    group, value = np.divmod(pairs, width)
    order = np.lexsort((value, -counts, group))
    distinct, first = np.unique(group[order], return_index=True)
    return distinct, value[order[first]] + smallest, counts[order[first]]
