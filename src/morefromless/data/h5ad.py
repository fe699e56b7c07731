"""Validate the sizes and indices of an HDF5 file of counts before native code uses them."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from morefromless.errors import DataError

BLOCK = 2**22
"""Number of indices that are read at a time."""
MAX_DEPTH = 32
"""Maximum depth of nested groups."""
SMALL_BYTES = 2**26
"""Size in bytes that an array may have, regardless of its size in the file."""
MAX_RATIO = 1100
"""Maximum number of bytes that one byte of a compressed file can unpack to."""


def check_h5ad(path: Path) -> None:
    """Raise `DataError` for invalid sparse matrices, and for arrays larger than the file can hold.

    Such files would crash the process or use all memory.
    """
    if not path.exists():
        raise DataError(f"There is no {path}; check the path.")
    if not path.is_file():
        raise DataError(f"{path} is a folder, a pipe or a device; give an .h5ad file.")
    with h5py.File(path, "r") as file:
        _check_group(path, file, 0)


def _check_group(path: Path, group: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise DataError(
            f"{path} has more than {MAX_DEPTH} levels of nested groups; write it again."
        )
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise DataError(f"{path} links {name} to another place; write it again without links.")
        member = group[name]
        if isinstance(member, h5py.Group):
            _check_group(path, member, depth + 1)
        elif isinstance(member, h5py.Dataset):
            stored = member.id.get_storage_size()
            if member.nbytes > max(SMALL_BYTES, MAX_RATIO * stored):
                raise DataError(
                    f"{path} states {member.nbytes:,} bytes for {member.name}, but stores only "
                    f"{stored:,}; write it again."
                )
    if "indptr" in group and "indices" in group and not _has_valid_indices(group):
        raise DataError(
            f"{path} has a sparse matrix {group.name} whose indices do not match its shape; "
            "write it again."
        )


def _has_valid_indices(group: Any) -> bool:
    """Whether the pointers and indices of a sparse matrix are consistent with its shape."""
    kind = _text(group.attrs.get("encoding-type", group.attrs.get("h5sparse_format", "")))
    shape = np.asarray(group.attrs.get("shape", group.attrs.get("h5sparse_shape", ()))).tolist()
    if not shape and "shape" in group:  # format of 10x Genomics: columns are spots
        kind, shape = "csc", np.asarray(group["shape"]).tolist()
    pointers, indices, values = group["indptr"], group["indices"], group["data"]
    if kind[:3] not in ("csr", "csc") or len(shape) != 2:
        return False
    if any(a.ndim != 1 or a.dtype.kind not in "iu" for a in (pointers, indices)):
        return False
    rows, columns = shape if kind.startswith("csr") else shape[::-1]
    starts = pointers[:].astype(np.int64)
    if len(starts) != rows + 1 or starts[0] != 0 or (np.diff(starts) < 0).any():
        return False
    if not starts[-1] == len(indices) == len(values) or values.ndim != 1:
        return False
    for first in range(0, len(indices), BLOCK):
        block = indices[first : first + BLOCK]
        if block.min() < 0 or block.max() >= columns:
            return False
    return True


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
