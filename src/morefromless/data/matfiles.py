"""Read nuclei from MATLAB files, as HoVer-Net, CoNSeP and Lizard write them."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from morefromless.data.masks import Mask, check_mask, majority_types, to_int32
from morefromless.data.matlab import MAX_VARIABLE_BYTES, read_variables
from morefromless.errors import UnreadablePatch
from morefromless.regular import read_regular

KEYS = ("inst_map", "type_map", "inst_type", "inst_uid", "class", "id")


def read_mat(path: Path, shape: tuple[int, ...]) -> tuple[Mask, dict[int, int | None]]:
    """Read the instance map of an image of `shape` (height, width, ...), and the type of each id.

    A file has `inst_map`, and one type per id in `inst_type` (HoVer-Net, CoNSeP) or `class`
    (Lizard), else a `type_map`. The ids are in `inst_uid` or `id`; else they are the ids of the
    map in ascending order. Surplus types get ids that no pixel has. An id without a type gets None,
    also if the file has no types. A list and a `type_map` must agree on most pixels of each
    nucleus. Raises `UnreadablePatch`.
    """
    arrays = _load(path, shape)
    if "inst_map" not in arrays:
        raise UnreadablePatch(
            f"no instance map: {path.name} has no numeric array inst_map; save one with this name"
        )
    instances = _map(arrays, "inst_map", shape)
    types = _map(arrays, "type_map", shape) if "type_map" in arrays else None
    type_key = next((key for key in ("inst_type", "class") if key in arrays), None)
    if type_key is None:
        if types is None:
            return instances, {int(k): None for k in np.unique(instances) if k}
        return instances, majority_types(instances, types)
    id_key = next((key for key in ("inst_uid", "id") if key in arrays), None)
    present = [int(k) for k in np.unique(instances) if k]
    ids = present if id_key is None else to_int32(arrays[id_key], id_key).ravel().tolist()
    codes = to_int32(arrays[type_key], type_key).ravel().tolist()
    types_by_id = _pair_types(ids, codes, last_id=max([0, *ids, *present]))
    if types is not None:
        _check_agreement(instances, types, types_by_id)
    return instances, types_by_id


def _pair_types(ids: list[int], codes: list[int], last_id: int) -> dict[int, int | None]:
    number, times = Counter(ids).most_common(1)[0] if ids else (0, 1)
    if times > 1:
        raise UnreadablePatch(f"several types: id {number} is listed {times} times; keep one")
    missing = len(ids) - len(codes)
    ids = [*ids, *range(last_id + 1, last_id + 1 - missing)]
    return dict(zip(ids, [*codes, *[None] * missing], strict=True))


def _check_agreement(instances: Mask, types: Mask, types_by_id: dict[int, int | None]) -> None:
    ids = np.unique(instances)
    indices = np.searchsorted(ids, instances)  # much faster than the inverse of unique
    listed = np.array([types_by_id.get(int(k)) or 0 for k in ids])
    agreeing = np.bincount(indices[types == listed[indices]], minlength=len(ids))
    share = agreeing / np.bincount(indices.ravel())
    for k, kind, part in zip(ids, listed, share, strict=True):
        if k and types_by_id.get(int(k)) is not None and part <= 0.5:
            raise UnreadablePatch(
                f"types disagree: nucleus {k} has type {kind} in the list, but not on most of its "
                "pixels in type_map; correct one of them"
            )


def _map(arrays: dict[str, npt.NDArray[Any]], key: str, shape: tuple[int, ...]) -> Mask:
    values = to_int32(arrays[key], key)
    check_mask(values, shape, key)
    return values


def _load(path: Path, shape: tuple[int, ...]) -> dict[str, npt.NDArray[Any]]:
    # A map of the image takes 8 bytes per pixel, a list far less.
    limit = min(MAX_VARIABLE_BYTES, max(2**24, 8 * shape[0] * shape[1] + 2**16))
    try:
        return read_variables(read_regular(path), KEYS, limit)
    except OverflowError as error:
        raise UnreadablePatch(
            f"too large: a variable of {path.name} has {error} bytes, more than a map of the "
            "image; store the map of this image"
        ) from error
    except NotImplementedError as error:
        raise UnreadablePatch(
            f"MATLAB v7.3: {path.name} is an HDF5 file; save it with -v7"
        ) from error
    except ValueError as error:
        raise UnreadablePatch(
            f"unreadable: {path.name} is not a valid MATLAB file of v5 to v7; download it again"
        ) from error
