"""Where networks run: the one place that decides, and refuses."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from morefromless.config import Device, Precision
from morefromless.errors import ConfigError, first_line


def resolve_device(device: Device = "auto") -> str:
    """`cuda` or `cpu` for what a person asked: auto is a GPU where PyTorch has one.

    Raises `ConfigError` where `gpu` is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if device == "gpu" and not available:
        raise ConfigError("--device gpu was asked for, but PyTorch has no GPU here; use cpu.")
    return "cuda" if available and device != "cpu" else "cpu"


def check_precision(precision: Precision, device: str) -> None:
    """Raise `ConfigError` where a device, `cuda` or `cpu`, does not compute in a precision, or
    would be slower in it than in 32 bits."""
    if device == "cuda" and precision == "bf16":
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            raise ConfigError("--precision bf16 is not for this GPU; give --precision 16 or 32.")
    elif device == "cpu" and precision == "16":
        raise ConfigError("--precision 16 is for GPUs; give --precision bf16 or 32 on a CPU.")
    elif device == "cpu" and precision == "bf16" and _capability() in ("DEFAULT", "AVX2"):
        raise ConfigError(
            "--precision bf16 is slower than 32 on this CPU, which has no AVX-512; give 32."
        )


def check_compile(device: str) -> None:
    """Raise `ConfigError` where torch.compile has no compiler for a device, `cuda` or `cpu`."""
    try:
        torch.compile(torch.square)(torch.ones(8, device=device))
    except Exception as error:  # the compilers raise what they like
        needs = "Triton" if device == "cuda" else "a C++ compiler, such as the package g++"
        raise ConfigError(
            f"--compile does not work here ({first_line(error)}); install {needs}, or leave it out."
        ) from error


def _capability() -> str:
    """The vector instructions of this CPU as PyTorch calls them; those of Arm are not judged."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return torch.backends.cpu.get_cpu_capability() if x86 else platform.machine()


def available_cores() -> int:
    """CPU cores that this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch has so many threads within."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def available_gpus(device: Device = "auto") -> list[str]:
    """The GPUs that may be used, as CUDA_VISIBLE_DEVICES names them; none for `cpu`."""
    if resolve_device(device) == "cpu":
        return []
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[:count] if visible else [str(number) for number in range(count)]
