"""Label images in which one id has several pieces, such as binary masks without labelling."""

from typing import Literal

import numpy as np
from scipy import ndimage

from morefromless.data.masks import Mask
from morefromless.errors import UnreadablePatch

Pieces = Literal["ask", "one", "each"]

_EIGHT_NEIGHBOURS = np.ones((3, 3), bool)
MAX_PIECES = 10
"""Most pieces of one nucleus, including stray pixels."""


def separate_pieces(instances: Mask, pieces: Pieces, option: str) -> tuple[Mask, dict[int, int]]:
    """Return an instance map (H, W), with pieces separated if requested, and each id's original id.

    With `each`, pieces of an id that do not touch get separate ids. With `ask`, a map is refused if
    most ids have more than `MAX_PIECES` pieces, or several of at least a tenth of the largest.
    Segmentations do not look like this, but a mask of 0 and 255 does, even if touching nuclei form
    one large piece. The error message names the `option` that separates the pieces.

    >>> mask = np.array([[7, 0, 7]], np.int32)
    >>> separate_pieces(mask, "each", "label-images:pieces=each")
    (array([[1, 0, 2]], dtype=int32), {1: 7, 2: 7})
    """
    ids = np.unique(instances)
    ids = ids[ids > 0]
    if pieces == "one" or not len(ids) or instances.min() < 0:
        return instances, {int(k): int(k) for k in ids}
    numbers = np.searchsorted(ids, instances, side="right").astype(np.int32)
    separate = np.zeros_like(instances)
    origin: dict[int, int] = {}
    split_ids: list[tuple[int, int]] = []
    for number, box in enumerate(ndimage.find_objects(numbers, len(ids)), 1):
        k = int(ids[number - 1])
        labels, count = ndimage.label(numbers[box] == number, _EIGHT_NEIGHBOURS)
        sizes = np.bincount(labels.ravel())[1:]
        large = 10 * sizes >= sizes.max()
        if large.sum() > 1 or count > MAX_PIECES:
            split_ids.append((k, count))
        part = separate[box]
        part[labels > 0] = labels[labels > 0] + len(origin)
        origin.update(dict.fromkeys(range(len(origin) + 1, len(origin) + count + 1), k))
    if pieces == "each":
        return separate, origin
    if 2 * len(split_ids) > len(ids):
        k, count = split_ids[0]
        raise UnreadablePatch(
            f"one id in several pieces: id {k} has {count} pieces; give {option} if each piece "
            "is a nucleus, pieces=one if all together are one nucleus"
        )
    return instances, {int(k): int(k) for k in ids}
