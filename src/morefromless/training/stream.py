"""Preparation of the images of a step while the GPU still trains on the previous step."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class SideStream:
    """A CUDA stream in addition to the training stream; does nothing on other devices.

    The CPU queues work ahead of the GPU, so work in `use()` runs while the GPU still works on the
    previous step. Memory that is allocated in this stream must stay allocated until the training
    stream has finished with it: `hand_to_current()` ensures this.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self.stream.wait_stream(torch.cuda.current_stream(device))

    @contextmanager
    def use(self) -> Iterator[None]:
        """Queue the work of the block on this stream."""
        if self.stream is None:
            yield
            return
        with torch.cuda.stream(self.stream):
            yield

    def hand_to_current(self, tensors: Iterable[Tensor]) -> None:
        """Make the current stream wait for this stream, and allow it to use these tensors."""
        if self.stream is None:
            return
        current = torch.cuda.current_stream(self.stream.device)
        current.wait_stream(self.stream)
        for tensor in tensors:
            tensor.record_stream(current)
