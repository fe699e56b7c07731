"""Nuclei in MATLAB files, as HoVer-Net, CoNSeP and Lizard write them."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.io import loadmat

from morefromless.errors import UnreadablePatch

KEYS = ["inst_map", "type_map", "inst_type", "inst_uid", "class", "id"]


def read_mat(path: Path) -> tuple[npt.NDArray[np.int32], dict[int, int | None]]:
    """Instance map (H, W) and the type of each id, in the file's order.

    A file holds `inst_map` and either `inst_type` (HoVer-Net, CoNSeP) or `class` (Lizard), one type
    an id; ids are those of `inst_uid` or `id`, else the map's own in ascending order. A type more
    or less than there are ids comes out as such: an id that no pixel has, an id without a type.
    Where there is a `type_map` too it must agree. Raises `UnreadablePatch`.
    """
    held = _load(path)
    if "inst_map" not in held:
        raise UnreadablePatch(f"no instance map: {path.name} has no inst_map")
    instances = whole(held["inst_map"], "inst_map")
    own = np.unique(instances)
    own = own[own != 0]
    kinds = held.get("inst_type", held.get("class"))
    if kinds is None:
        if "type_map" not in held:
            raise UnreadablePatch(f"no types: {path.name} has neither inst_type nor class")
        return instances, majority(instances, whole(held["type_map"], "type_map"))
    codes = [int(code) for code in whole(kinds, "inst_type").ravel()]
    named = held.get("inst_uid", held.get("id"))
    ids = [int(k) for k in (own if named is None else whole(named, "id").ravel())]
    surplus = range(1 + max([0, *ids, *own.tolist()]), 1 + max([0, *ids, *own.tolist()])
                    + max(0, len(codes) - len(ids)))  # fmt: skip
    types: dict[int, int | None] = dict.fromkeys([*ids, *surplus])
    types.update(zip(types, codes, strict=False))
    if "type_map" in held:
        _check_agreement(instances, whole(held["type_map"], "type_map"), types)
    return instances, types


def whole(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.int32]:
    """Whole numbers as int32. Raises `UnreadablePatch` for fractions and what is no number."""
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.rint(values))).all():
        raise UnreadablePatch(f"float mask: {name} holds fractions; store whole numbers")
    if values.dtype.kind not in "fiub":
        raise UnreadablePatch(f"not a mask: {name} holds {values.dtype}, not numbers")
    if values.size and not -(2**31) <= values.min() <= values.max() < 2**31:
        raise UnreadablePatch(f"not a mask: {name} holds numbers beyond 32 bits")
    return values.astype(np.int32)


def majority(
    instances: npt.NDArray[np.int32], types: npt.NDArray[np.int32]
) -> dict[int, int | None]:
    """The type of each instance from a map of types (H, W): that of more than half its pixels.

    Raises `UnreadablePatch` for maps of different sizes, an instance of no such type, and types
    where there is no instance.
    """
    if types.shape != instances.shape:
        raise UnreadablePatch(
            f"another size: types {types.shape[1]} x {types.shape[0]}, "
            f"instances {instances.shape[1]} x {instances.shape[0]}"
        )
    stray = int(((types != 0) & (instances == 0)).sum())
    if stray:
        raise UnreadablePatch(f"type without an instance: {stray} px have a type and no id")
    inside = instances > 0
    pairs, held = np.unique(
        np.stack([instances[inside], types[inside]], 1), axis=0, return_counts=True
    )
    found: dict[int, int | None] = {}
    areas = np.bincount(instances[inside])
    for (number, kind), count in zip(pairs.tolist(), held.tolist(), strict=True):
        found.setdefault(number, None)
        if 2 * count > areas[number]:
            found[number] = kind
    mixed = [number for number, kind in found.items() if kind is None]
    if mixed:
        raise UnreadablePatch(f"instance of several types: {mixed[0]} has no type on most pixels")
    return found


def _check_agreement(
    instances: npt.NDArray[np.int32], drawn: npt.NDArray[np.int32], told: dict[int, int | None]
) -> None:
    for number, kind in majority(instances, drawn).items():
        if told.get(number) is not None and told[number] != kind:
            raise UnreadablePatch(
                f"types disagree: nucleus {number} is {told[number]} in the list and {kind} in "
                "type_map"
            )


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:  # scipy would add an ending to a path that it does not find
            held: dict[str, Any] = loadmat(file, variable_names=KEYS)  # type: ignore[arg-type]
    except NotImplementedError as error:
        raise UnreadablePatch(
            f"MATLAB v7.3: {path.name} is an HDF5 file; save it with -v7"
        ) from error
    except FileNotFoundError as error:
        raise UnreadablePatch(f"no segmentation: there is no {path.name}") from error
    except MemoryError:
        raise
    except Exception as error:  # the reader raises whatever a damaged file provokes
        raise UnreadablePatch(f"unreadable: {path.name} is not a sound MATLAB file") from error
    return held
