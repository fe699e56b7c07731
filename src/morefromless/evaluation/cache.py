"""Tensors on disk that are bound to what they were computed from."""

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from morefromless.data import atomic


def cached(
    path: Path, key: Mapping[str, str], compute: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """The tensors at `path` where they were computed from `key`, else computed and written there.

    The key (hash of the weights, of the store, settings ...) stands in the file's own metadata. A
    file that is damaged, was made from anything else or was put there by hand with another key is
    computed again.
    """
    tensors = _read(path, key)
    if tensors is None:
        tensors = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(path) as temporary:
            contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
            save_file(contiguous, temporary, metadata=dict(key))
    return tensors


def _read(path: Path, key: Mapping[str, str]) -> dict[str, Tensor] | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            if file.metadata() != dict(key):
                return None
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError):
        return None
