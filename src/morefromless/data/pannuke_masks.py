"""PanNuke's masks: one channel of instance ids per type of nucleus."""

from typing import Any

import numpy as np
import numpy.typing as npt

from morefromless.data.masks import Mask, to_int32
from morefromless.data.schemes import PANNUKE
from morefromless.errors import UnreadablePatch

CHANNELS = 6
"""Neoplastic, inflammatory, connective, dead, epithelial, and background (not read)."""


def merge_channels(mask: npt.NDArray[Any], what: str) -> tuple[Mask, dict[int, str]]:
    """One instance map (H, W), and the type of each instance, from PanNuke's mask (H, W, 6).

    Instances are renumbered by channel and id because channels may use the same id for different
    nuclei. If nuclei of several channels overlap, the first channel gets the pixel. Raises
    `UnreadablePatch` for a nucleus that loses more than half of its pixels to others. Error
    messages call the mask `what`.
    """
    ids = to_int32(mask[..., : CHANNELS - 1], what)
    if ids.size and ids.min() < 0:
        raise UnreadablePatch(f"negative instance: {what} holds {ids.min()}; number nuclei from 1")
    inside = ids > 0
    channels = np.broadcast_to(np.arange(CHANNELS - 1), ids.shape)
    # A nucleus is a pair of channel and id, encoded in 64 bits because ids may be large.
    pairs, indices = np.unique(
        channels[inside] * 2**32 + ids[inside].astype(np.int64), return_inverse=True
    )
    numbers = np.zeros(ids.shape, np.int32)
    numbers[inside] = indices + 1
    first = inside.argmax(-1)[..., None]
    instances = np.take_along_axis(numbers, first, -1)[..., 0]
    areas = np.bincount(numbers.ravel(), minlength=len(pairs) + 1)[1:]
    visible_areas = np.bincount(instances.ravel(), minlength=len(pairs) + 1)[1:]
    hidden = np.flatnonzero(2 * visible_areas < areas)
    types = {k + 1: PANNUKE.types[1 + pair // 2**32] for k, pair in enumerate(pairs.tolist())}
    if len(hidden):
        k = int(hidden[0])
        raise UnreadablePatch(
            f"overlapping nuclei: id {pairs[k] % 2**32} of {types[k + 1]} keeps {visible_areas[k]} "
            f"of {areas[k]} px; draw each pixel in one channel"
        )
    return instances, types
