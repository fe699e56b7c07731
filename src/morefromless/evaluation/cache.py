"""Tensors on disk that are bound to what they were computed from."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from morefromless import files


def cached(
    path: Path, key: Mapping[str, str], compute: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """The tensors at `path` where they were computed from `key`, else computed and written there.

    The key (hash of the weights, of the store, settings ...) stands in the file's metadata, with a
    digest of it and of the tensors. A file that is damaged or was computed from anything else is
    not used. Where the place may not be written to, as in another's study, nothing is.
    """
    stored = read_cached(path)
    tensors = stored[0] if stored and stored[1] == key else None
    if tensors is None:
        tensors = compute()
        with suppress(files.NotWritable), files.replacing(path) as temporary:
            contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
            save_file(contiguous, temporary, metadata={**key, "digest": _bound(contiguous, key)})
    return tensors


def read_cached(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """What `cached` wrote at `path`: tensors, and their key; None where nothing sound is there."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            key = dict(file.metadata() or {})
        bound = key.pop("digest", None) == _bound(tensors, key)
    except (SafetensorError, OSError, ValueError, TypeError):
        return None
    return (tensors, key) if bound else None


def _bound(tensors: Mapping[str, Tensor], key: Mapping[str, str]) -> str:
    """blake2b-128 of named tensors, how they are stored, and what they were computed from."""
    stored = sorted((name, str(t.dtype), *t.shape) for name, t in tensors.items())
    text = json.dumps([digest(tensors), stored, sorted(key.items())])
    return blake2b(text.encode(), digest_size=16).hexdigest()


def digest(tensors: Mapping[str, Tensor]) -> str:
    """blake2b-128 of named tensors."""
    hashed = blake2b(digest_size=16)
    for name in sorted(tensors):
        hashed.update(name.encode())
        hashed.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()


def digest_text(*words: str) -> str:
    """Eight hex digits that tell such words apart, for a file's name."""
    return blake2b("\0".join(words).encode(), digest_size=4).hexdigest()
