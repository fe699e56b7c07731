"""Selection of devices, precision and threads, with checks that they are available."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from morefromless.config import Device, Precision
from morefromless.errors import ConfigError, first_line


def resolve_device(device: Device = "auto") -> str:
    """Return `cuda` or `cpu` for a requested device; auto is a GPU if PyTorch has one.

    Raises `ConfigError` if `gpu` is requested and there is none.
    """
    available = torch.cuda.is_available()
    if device == "gpu" and not available:
        raise ConfigError("--device gpu was requested, but PyTorch finds no GPU; use cpu.")
    return "cuda" if available and device != "cpu" else "cpu"


def check_precision(precision: Precision, device: str) -> None:
    """Raise `ConfigError` if a device, `cuda` or `cpu`, does not support a precision, or is slower
    in it than in 32 bits."""
    if device == "cuda" and precision == "bf16":
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            raise ConfigError(
                "--precision bf16 is not supported by this GPU; give --precision 16 or 32."
            )
    elif device == "cpu" and precision == "16":
        raise ConfigError("--precision 16 is for GPUs; give --precision bf16 or 32 on a CPU.")
    elif device == "cpu" and precision == "bf16" and _capability() in ("DEFAULT", "AVX2"):
        raise ConfigError(
            "--precision bf16 is slower than 32 on this CPU, which has no AVX-512; give 32."
        )


def check_compile(device: str) -> None:
    """Raise `ConfigError` if torch.compile has no compiler for a device, `cuda` or `cpu`."""
    try:
        torch.compile(torch.square)(torch.ones(8, device=device))
    except Exception as error:  # compilers raise many types
        needs = "Triton" if device == "cuda" else "a C++ compiler, such as the package g++"
        raise ConfigError(
            f"--compile does not work here ({first_line(error)}); install {needs}, or remove it."
        ) from error


def _capability() -> str:
    """Return the vector instructions of this CPU by PyTorch's name, or the architecture if not
    x86."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return torch.backends.cpu.get_cpu_capability() if x86 else platform.machine()


def available_cores() -> int:
    """Return the number of CPU cores that this process may use; the machine may have more."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Set the number of PyTorch's threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def available_gpus(device: Device = "auto") -> list[str]:
    """Return the GPUs that may be used, as in CUDA_VISIBLE_DEVICES; none for `cpu`."""
    if resolve_device(device) == "cpu":
        return []
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[:count] if visible else [str(number) for number in range(count)]
