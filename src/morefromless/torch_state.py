"""PyTorch's state that a process has once: its generators, default type, device and autograd mode.

First weights and dropout are drawn from the global generators. A caller whose generators stayed
seeded by us would draw the same numbers after every call; and of two threads that train at once,
each would draw from the other's.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

_one = threading.RLock()


@contextmanager
def own_state(device: str = "cpu") -> Iterator[None]:
    """Within the block, PyTorch's state is as it comes, and one thread's alone; then the caller's.

    `device` is `cuda` where the block draws from the GPU's generator. As a decorator, the block is
    the function.

    >>> before = torch.get_rng_state()
    >>> with own_state():
    ...     seed_generators(0, torch.device("cpu"))
    >>> torch.equal(torch.get_rng_state(), before)
    True
    """
    gpus = [torch.cuda.current_device()] if device == "cuda" else []
    elsewhere = nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")
    with _one, torch.random.fork_rng(gpus), torch.inference_mode(False), elsewhere:
        dtype = torch.get_default_dtype()  # all threads', so another's until the lock is ours
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def seed_generators(seed: int, device: torch.device) -> None:
    """`torch.manual_seed` for one device. PyTorch's own takes 2 ms where it supports GPUs and there
    is none, because it keeps a stack trace for each GPU that may appear later."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
