"""Tensors on disk that are bound to what they were computed from."""

from collections.abc import Callable, Mapping
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
    digest of the tensors. A file that is damaged or was computed from anything else is not used.
    """
    tensors = _read(path, key)
    if tensors is None:
        tensors = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as temporary:
            contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
            save_file(contiguous, temporary, metadata={**key, "digest": digest(contiguous)})
    return tensors


def _read(path: Path, key: Mapping[str, str]) -> dict[str, Tensor] | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            bound = file.metadata() == {**key, "digest": digest(tensors)}
            return tensors if bound else None
    except (SafetensorError, OSError, ValueError):
        return None


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
