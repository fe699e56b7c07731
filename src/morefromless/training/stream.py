"""A GPU prepares a step's images while it still trains on those of the step before."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class SideStream:
    """A CUDA stream beside the one that trains; on any other device, nothing.

    A program runs ahead of a GPU, so what is asked for in `use()` is computed while the GPU still
    has work of the step before. Memory that was taken in this stream is given back only when the
    stream that trains, too, has done with it: `hand_over()` says so.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self.stream.wait_stream(torch.cuda.current_stream(device))

    @contextmanager
    def use(self) -> Iterator[None]:
        """Within the block, work goes to this stream."""
        if self.stream is None:
            yield
            return
        with torch.cuda.stream(self.stream):
            yield

    def hand_over(self, tensors: Iterable[Tensor]) -> None:
        """Let the current stream wait for this one, and use these tensors of it."""
        if self.stream is None:
            return
        current = torch.cuda.current_stream(self.stream.device)
        current.wait_stream(self.stream)
        for tensor in tensors:
            tensor.record_stream(current)
