"""Speed of a step, tested on any device: its waits, data transfers and data types."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from morefromless import devices, progress
from morefromless.config import RunConfig
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.pairs import Pair
from morefromless.training import loop
from morefromless.training.feed import Feed, Residency
from morefromless.training.steps import Steps
from morefromless.training.stream import SideStream
from morefromless.training.train import train
from morefromless.views import _draws
from tests.conftest import changed


class Waits(TorchDispatchMode):
    """Counts operations that wait for a GPU: reads of tensor values, and shapes that depend on
    values."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        aten = torch.ops.aten
        masks = isinstance(args[1] if len(args) > 1 else None, list | tuple) and any(
            isinstance(index, Tensor) and index.dtype == torch.bool for index in args[1]
        )
        self.count += function in (aten._local_scalar_dense.default, aten.nonzero.default) or masks
        return function(*args, **(kwargs or {}))


@dataclass
class StepRecords(pl.Callback):
    """Records the waits of each step, in total and before the backward pass, and the first loss.
    Replaces the learning curve."""

    waits: Waits
    counts: list[int] = field(default_factory=list)
    forward: int = 0
    losses: list[float] = field(default_factory=list)
    dtypes: set[torch.dtype] = field(default_factory=set)

    def on_train_batch_start(self, *_: Any) -> None:
        self.counts.append(self.waits.count)

    def on_after_backward(self, *_: Any) -> None:
        self.forward += self.waits.count - self.counts[-1]

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        del trainer
        self.counts[-1] = self.waits.count - self.counts[-1]
        if not self.losses:
            assert isinstance(module, loop.Learner)
            self.losses.append(module.logged["loss"])
        self.dtypes |= {tensor.dtype for tensor in module.state_dict().values()}


def train_and_record(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> StepRecords:
    """Train and record. Progress is quiet, because its lines would read the loss too."""
    notes = StepRecords(Waits())
    monkeypatch.setattr(loop, "Curve", lambda *_: notes)
    with progress.use_mode("quiet"), notes.waits:
        train(changed(config, probe_every=1))
    return notes


def test_only_logged_steps_wait_for_values(
    pretraining: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_draws, "_SYNCHRONOUS_DEVICES", ())  # as on a GPU
    notes = train_and_record(changed(pretraining, epochs=3, batch=10), monkeypatch)
    assert len(notes.counts) == 39
    waited = [step for step, count in enumerate(notes.counts) if count]
    assert waited == [0, 9, 19, 29, 38]
    assert notes.forward == 0  # logged steps only wait during the backward pass


def test_gpu_prepares_images_in_a_separate_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    class Stream:
        def __init__(self, name: str) -> None:
            self.name, self.device = name, torch.device("cuda")

        def wait_stream(self, other: "Stream") -> None:
            events.append(f"{self.name} waits for {other.name}")

    class Images:
        def record_stream(self, stream: Stream) -> None:
            events.append(f"{stream.name} uses the images")

    @contextmanager
    def use_stream(stream: Stream) -> Iterator[None]:
        events.append(f"begin {stream.name}")
        yield
        events.append(f"end {stream.name}")

    monkeypatch.setattr(torch.cuda, "Stream", lambda _: Stream("side"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: Stream("main"))
    monkeypatch.setattr(torch.cuda, "stream", use_stream)
    side = SideStream(torch.device("cuda"))
    with side.use():
        events.append("prepare")
    side.hand_to_current([Images()])  # type: ignore[list-item]
    assert events == [
        "side waits for main",
        "begin side",
        "prepare",
        "end side",
        "main waits for side",
        "main uses the images",
    ]


@pytest.mark.parametrize("residency", ["inputs", "arrays"])
def test_resident_patches_are_not_moved_again(tissue: Store, residency: Residency) -> None:
    train = tissue.indices("train")
    pair = Pair({"primary": "full"}, "plain", 32)
    feed = Feed(tissue, train, pair, torch.device("cpu"), residency)
    loader = feed.loader(Steps(len(train), batch=16, epochs=1, seed=0), workers=2, pin=True)
    assert loader.num_workers == 0
    assert all(set(batch) == {"position", "label"} for batch in loader)


@pytest.mark.skipif(
    devices._capability() in ("DEFAULT", "AVX2"), reason="this CPU is slower in bfloat16"
)
def test_bf16_keeps_32_bit_weights_and_a_similar_loss(
    pretraining: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    plain = train_and_record(changed(pretraining, epochs=1), monkeypatch)
    half = train_and_record(
        changed(pretraining, epochs=1, precision="bf16", out=tmp_path / "b"), monkeypatch
    )
    assert half.dtypes == plain.dtypes == {torch.float32, torch.int64}
    assert half.losses != plain.losses
    assert half.losses == pytest.approx(plain.losses, rel=0.02)


@pytest.mark.parametrize(
    ("precision", "capability", "message"),
    [
        ("16", "AVX512", "--precision 16 is for GPUs; give --precision bf16 or 32 on a CPU"),
        ("bf16", "AVX2", "--precision bf16 is slower than 32 on this CPU"),
    ],
)
def test_unsupported_cpu_precision_is_refused(
    precision: str,
    capability: str,
    message: str,
    pretraining: RunConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "_capability", lambda: capability)
    config = changed(pretraining, precision=precision)
    with pytest.raises(ConfigError, match=message):
        train(config)
    assert not config.out.exists()
