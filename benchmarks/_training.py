"""Helpers for stages that train: a store, a timed run and the bare encoders."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytorch_lightning as pl
import timm
import torch

from morefromless import progress
from morefromless.config import RunConfig, from_flat
from morefromless.data.store import Store
from morefromless.ingest import ingest
from morefromless.pairs import channels_last
from morefromless.sources.synthetic import Synthetic


def synthetic_store(patches: int, size: int, patients: int = 12) -> Store:
    """A new store of drawn tissue."""
    path = Path(tempfile.mkdtemp()) / "store"
    ingest(Synthetic(patches=patches, patients=patients, size=size), path, progress=False)
    return Store.open(path)


def train_with(clock: pl.Callback, store: Store, **options: Any) -> None:
    """Train a run with the callback `clock` in place of the learning curve's callback."""
    from morefromless.training.train import train

    with (
        tempfile.TemporaryDirectory() as out,
        mock.patch("morefromless.training.loop.Curve", return_value=clock),
        progress.use_mode("quiet"),
    ):
        run = {"store": store.path, "out": Path(out) / "run", "probe_every": 1}
        train(from_flat(RunConfig, run | options))


def bare_encoders(
    encoder: str, size: int, batch: int, dtype: torch.dtype, device: str = "cpu"
) -> Callable[[], None]:
    """Forward and backward pass of two encoders on prepared images."""
    encoders = [timm.create_model(encoder, num_classes=0).to(device) for _ in range(2)]
    for network in encoders:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = channels_last(torch.rand(batch, 3, size, size, device=device))

    def step() -> None:
        for network in encoders:
            network.zero_grad()
            with torch.autocast(device, dtype, enabled=dtype != torch.float32):
                features = network(images)
            features.float().sum().backward()

    return step
