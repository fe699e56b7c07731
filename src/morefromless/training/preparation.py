"""--compile and --gradient-checkpointing: they change how a network computes, not what."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from morefromless.config import Machine, RunConfig
from morefromless.encoders import Encoder
from morefromless.errors import TrainingError, first_line


def prepare(network: nn.Module, machine: Machine) -> None:
    """Compile the modules that contain a trained encoder, and checkpoint the encoder, if requested.

    Weights and their names stay the same. The encoder alone, which learning curves use, is not
    compiled.

    Raises `ConfigError` if an encoder does not support gradient checkpointing.
    """
    for part in network.modules():
        encoder = getattr(part, "encoder", None)
        if not isinstance(encoder, Encoder) or getattr(part, "frozen", False):
            continue
        if machine.gradient_checkpointing:
            encoder.checkpoint_gradients()
        if machine.compile:
            part.compile()


@contextmanager
def raising_compile_errors(machine: Machine) -> Iterator[None]:
    """Raise `TrainingError` if the block fails because a network cannot be compiled."""
    if not machine.compile:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # importing it takes seconds

    torch.compiler.reset()  # PyTorch limits a function to eight compilations, counting earlier runs
    try:
        yield
    except TorchDynamoException as error:
        raise TrainingError(
            f"--compile does not work with this network ({first_line(error)}); remove the option."
        ) from error


@contextmanager
def preserving_batch_norm(network: nn.Module, config: RunConfig) -> Iterator[None]:
    """Keep BatchNorm's running statistics unchanged while the backward pass in the block recomputes
    activations: the forward pass has already updated them."""
    recomputes = config.machine.gradient_checkpointing or config.pairing.accumulate
    buffers = list(network.buffers()) if recomputes else []
    before = [buffer.clone() for buffer in buffers]
    yield
    for buffer, value in zip(buffers, before, strict=True):
        buffer.copy_(value)
