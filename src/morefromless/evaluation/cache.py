"""Cache of tensors on disk, with a key that identifies their inputs."""

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
    """Load the tensors at `path` if they were computed from `key`; else compute and save them.

    The key (hash of the weights, of the store, settings ...) is in the file's metadata, with a
    digest of the key and the tensors. A file that is damaged or has another key is ignored. If
    `path` is not writable, nothing is saved.
    """
    stored = read_cached(path)
    tensors = stored[0] if stored and stored[1] == key else None
    if tensors is None:
        tensors = compute()
        with suppress(files.NotWritable), files.replacing(path) as temporary:
            contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
            save_file(
                contiguous, temporary, metadata={**key, "digest": _content_digest(contiguous, key)}
            )
    return tensors


def read_cached(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Load tensors and key that `cached` wrote; None if the file is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            key = dict(file.metadata() or {})
        intact = key.pop("digest", None) == _content_digest(tensors, key)
    except (SafetensorError, OSError, ValueError, TypeError):
        return None
    return (tensors, key) if intact else None


def _content_digest(tensors: Mapping[str, Tensor], key: Mapping[str, str]) -> str:
    """blake2b-128 of named tensors, their dtypes and shapes, and the key."""
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
    """Hash of words as eight hex digits, for a file name."""
    return blake2b("\0".join(words).encode(), digest_size=4).hexdigest()
