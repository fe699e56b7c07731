"""A full training step in the paper's setting on a GPU, compared with the encoder alone."""

from functools import cached_property
from itertools import cycle
from typing import Any

import pytorch_lightning as pl
import torch

from benchmarks import Call, Row, Stage
from benchmarks._training import bare_encoders, synthetic_store, train_with
from morefromless.data.store import Store
from morefromless.devices import check_compile, resolve_device
from morefromless.training.loop import LOG_EVERY

STEPS_PER_BLOCK = LOG_EVERY
"""Steps between two time stamps; one of them is logged. The median is over blocks."""
WARMUP_BLOCKS = 2
"""Blocks at the start that are not counted."""
TIMED_BLOCKS = 10
"""Blocks that are counted."""


class Gpu(Stage):
    """An asymmetric run as `mfl train` trains it, on a GPU.

    Each row trains once. Time stamps are events on the GPU, so the CPU does not wait for it. The
    stored patches stay on the GPU and are rendered per batch, because the rendered inputs are too
    large. With `--resident 0` patches are read from the store, as for data that do not fit. The
    limit is the encoder forward and backward, twice, on images that are already on the GPU.
    """

    clock = "wall"
    figure = "peak GB of the GPU"

    def __init__(
        self,
        encoder: str = "resnet50",
        size: int = 224,
        batch: int = 128,
        width: int = 8192,
        patches: int = 4000,
    ) -> None:
        self.encoder, self.size, self.batch, self.width = encoder, size, batch, width
        self.patches = patches
        self.peaks: dict[str, float] = {}

    @property
    def title(self) -> str:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
        return (
            f"A step of training, {self.encoder}, {self.size} px, batch {self.batch}, "
            f"width {self.width}, {device}"
        )

    @property
    def units(self) -> tuple[float, str]:
        return 1, "steps"

    def rows(self) -> list[Row]:
        bf16 = "--precision bf16"
        return [
            self._row(f"morefromless, {bf16}", precision="bf16"),
            self._row("limit in bf16: the encoder alone, twice", torch.bfloat16),
            self._row("morefromless, 32 bits", precision="32"),
            self._row("limit in 32 bits", torch.float32),
            self._row(f"morefromless, {bf16} --compile", precision="bf16", compile=True),
            self._row(
                f"morefromless, {bf16} --compile --resident 0 --workers 4",
                precision="bf16",
                compile=True,
                resident=0,
                workers=4,
            ),
        ]

    def _row(self, name: str, dtype: torch.dtype | None = None, **options: Any) -> Row:
        def prepare() -> Call:
            device = resolve_device("gpu")
            if options.get("compile"):
                check_compile(device)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            seconds = self._bare(dtype) if dtype else self._train(**options)
            self.peaks[name] = torch.cuda.max_memory_allocated() / 1e9
            return cycle(seconds[WARMUP_BLOCKS:]).__next__

        return Row(name, prepare, figure=lambda: f"{self.peaks[name]:.1f}")

    @cached_property
    def store(self) -> Store:
        return synthetic_store(self.patches, self.size)

    def _train(self, **options: Any) -> list[float]:
        """Seconds per step, for each block of a run."""
        steps = (WARMUP_BLOCKS + TIMED_BLOCKS) * STEPS_PER_BLOCK + 1
        clock = _Clock()
        train_with(
            clock,
            self.store,
            encoder=self.encoder,
            size=self.size,
            batch=self.batch,
            width=self.width,
            epochs=-(-steps // (len(self.store.indices("train")) // self.batch)),
            device="gpu",
            **options,
        )
        return clock.seconds

    def _bare(self, dtype: torch.dtype) -> list[float]:
        call = bare_encoders(self.encoder, self.size, self.batch, dtype, "cuda")
        clock = _Clock()
        for step in range((WARMUP_BLOCKS + TIMED_BLOCKS) * STEPS_PER_BLOCK + 1):
            clock.on_train_batch_start(None, None, None, step)
            call()
        return clock.seconds


class _Clock(pl.Callback):
    """Time stamps on the GPU, one per block."""

    def __init__(self) -> None:
        self.events: list[torch.cuda.Event] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        del trainer, module, batch
        if batch_idx % STEPS_PER_BLOCK == 0:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self.events.append(event)

    @property
    def seconds(self) -> list[float]:
        """Seconds per step, for each block."""
        torch.cuda.synchronize()
        pairs = zip(self.events, self.events[1:], strict=False)
        return [first.elapsed_time(last) / 1000 / STEPS_PER_BLOCK for first, last in pairs]
