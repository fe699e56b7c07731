"""Label images where one id lies in several pieces, as in masks that were never labelled."""

from typing import Literal

import numpy as np
from scipy import ndimage

from morefromless.data.masks import Mask
from morefromless.errors import UnreadablePatch

Pieces = Literal["ask", "one", "each"]

_EIGHT = np.ones((3, 3), bool)
FEW = 10
"""Pieces of one nucleus at most, stray pixels included."""


def separate_pieces(instances: Mask, pieces: Pieces, option: str) -> tuple[Mask, dict[int, int]]:
    """An instance map (H, W) whose pieces are separate where asked, and the original id of each id.

    With `each`, pieces of an id that do not touch get ids of their own. With `ask`, a map in which
    most ids lie in more than `FEW` pieces, or in several of a tenth of the largest or more, is
    refused: no segmentation looks like this, but a mask of 0 and 255 does, also where nuclei that
    touch make one large piece. The message names the `option` that separates them.

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
    several: list[tuple[int, int]] = []
    for number, box in enumerate(ndimage.find_objects(numbers, len(ids)), 1):
        k = int(ids[number - 1])
        labels, count = ndimage.label(numbers[box] == number, _EIGHT)
        sizes = np.bincount(labels.ravel())[1:]
        large = 10 * sizes >= sizes.max()
        if large.sum() > 1 or count > FEW:
            several.append((k, count))
        part = separate[box]
        part[labels > 0] = labels[labels > 0] + len(origin)
        origin.update(dict.fromkeys(range(len(origin) + 1, len(origin) + count + 1), k))
    if pieces == "each":
        return separate, origin
    if 2 * len(several) > len(ids):
        k, count = several[0]
        raise UnreadablePatch(
            f"one id in several pieces: id {k} lies in {count} pieces; say {option} if each piece "
            "is a nucleus, pieces=one if all are"
        )
    return instances, {int(k): int(k) for k in ids}
