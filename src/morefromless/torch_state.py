"""Isolation of PyTorch's global state: generators, default type, device and autograd mode.

Initial weights and dropout are drawn from the global generators. Without isolation, a caller would
draw the same numbers after every call of this package, because its generators stay seeded. Two
threads that train at the same time would draw from each other's generators.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

_lock = threading.RLock()


@contextmanager
def preserved_torch_state(device: str = "cpu") -> Iterator[None]:
    """Use PyTorch's default type, device and autograd mode in the block, for one thread at a time.

    The caller's state is restored afterwards. `device` is `cuda` if the block draws from the GPU's
    generator. Also works as a decorator.

    >>> before = torch.get_rng_state()
    >>> with preserved_torch_state():
    ...     seed_generators(0, torch.device("cpu"))
    >>> torch.equal(torch.get_rng_state(), before)
    True
    """
    gpus = [torch.cuda.current_device()] if device == "cuda" else []
    cpu_default = nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")
    with _lock, torch.random.fork_rng(gpus), torch.inference_mode(False), cpu_default:
        dtype = torch.get_default_dtype()  # shared by all threads, so read it with the lock held
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators of one device. PyTorch's own `manual_seed` takes 2 ms if PyTorch supports
    GPUs and there is none, because it keeps a stack trace for each GPU that may appear later."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
