"""A full training step, compared with the encoder alone and with lightly."""

import time
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks import Call, Row, Stage
from benchmarks._training import bare_encoders, synthetic_store, train_with
from morefromless.branch_plans import Plan
from morefromless.branches import Branches
from morefromless.data.store import Store
from morefromless.devices import check_compile
from morefromless.objectives.vicreg import VICReg
from morefromless.pairs import channels_last

WARMUP_STEPS = 2
"""Steps at the start of a run that are not counted."""


class Step(Stage):
    """An asymmetric run of `mfl train`: data loading, views, two branches, VICReg, Adam, logging.

    The limit is the encoder forward and backward, twice. A second limit is a PyTorch loop that
    trains both branches on prepared views. lightly's row is the loop of its own VICReg example: its
    augmentations of PIL images, its expander and loss, and the same encoder, size, batch, width and
    Adam.
    """

    variants = (
        "encoder=test_resnet,size=32,batch=64,width=256,steps=20",
        "encoder=resnet18,size=64,batch=128,width=2048,steps=1",
    )

    def __init__(
        self,
        encoder: str = "test_resnet",
        size: int = 32,
        batch: int = 64,
        width: int = 256,
        steps: int = 10,
    ) -> None:
        self.encoder, self.size, self.batch, self.width = encoder, size, batch, width
        self.steps = steps

    @property
    def title(self) -> str:
        return (
            f"A step of training, {self.encoder}, {self.size} px, batch {self.batch}, "
            f"width {self.width}"
        )

    @property
    def units(self) -> tuple[float, str]:
        return 1, "steps"

    def rows(self) -> list[Row]:
        return [
            Row("morefromless, mfl train", lambda: self._run()),
            Row("limit: the encoder alone, twice", self._bare),
            Row("limit: encoders, expanders, VICReg and Adam", self._plain),
            Row("lightly, VICReg", self._lightly, "lightly"),
            Row("morefromless, --precision bf16", lambda: self._run(precision="bf16")),
            Row("morefromless, --compile", self._compiled),
            Row("limit in bf16", lambda: self._bare(torch.bfloat16)),
        ]

    @cached_property
    def store(self) -> Store:
        return synthetic_store(max(180, 3 * self.batch), self.size)

    def _run(self, **options: Any) -> Call:
        per_epoch = len(self.store.indices("train")) // self.batch
        epochs = -(-(WARMUP_STEPS + self.steps) // per_epoch)

        def call() -> float:
            clock = _StepClock()
            train_with(
                clock,
                self.store,
                encoder=self.encoder,
                size=self.size,
                batch=self.batch,
                width=self.width,
                epochs=epochs,
                device="cpu",
                **options,
            )
            times = clock.starts[WARMUP_STEPS : WARMUP_STEPS + self.steps + 1]
            return (times[-1] - times[0]) / (len(times) - 1)

        return call

    def _compiled(self) -> Call:
        check_compile("cpu")
        return self._run(compile=True)

    def _bare(self, dtype: torch.dtype = torch.float32) -> Call:
        return bare_encoders(self.encoder, self.size, self.batch, dtype)

    def _plain(self) -> Call:
        plans = [Plan(name, "full", name, self.encoder) for name in ("primary", "privileged")]
        branches, objective = Branches(plans, self.width), VICReg()
        branches.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.Adam(branches.parameters(), lr=1e-4, fused=True)
        views = {
            plan.name: channels_last(torch.rand(self.batch, 3, self.size, self.size))
            for plan in plans
        }

        def call() -> None:
            optimiser.zero_grad()
            embeddings = [z for _, z in branches(views).values()]
            objective(embeddings).total.backward()
            optimiser.step()

        return call

    def _lightly(self) -> Call:
        from lightly.loss import VICRegLoss
        from lightly.models.modules.heads import VICRegProjectionHead
        from lightly.transforms.vicreg_transform import VICRegTransform

        encoder = timm.create_model(self.encoder, num_classes=0)
        head = VICRegProjectionHead(encoder.num_features, self.width, self.width)
        network, criterion = nn.Sequential(encoder, head), VICRegLoss()
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
        patches = _Images(self.store, VICRegTransform(input_size=self.size))
        loader = DataLoader(patches, self.batch, shuffle=True, drop_last=True)

        def steps() -> Iterable[list[Tensor]]:
            while True:
                yield from loader

        batches = iter(steps())

        def call() -> None:
            first, second = (network(views) for views in next(batches))
            criterion(first, second).backward()
            optimiser.step()
            optimiser.zero_grad()

        return call


class _StepClock(pl.Callback):
    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self.starts.append(time.process_time())


class _Images(Dataset[list[Tensor]]):
    """Training patches in the format of lightly's transforms."""

    def __init__(self, store: Store, transform: Any) -> None:
        self.store, self.rows, self.transform = store, store.indices("train"), transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> list[Tensor]:
        image = Image.fromarray(self.store.array("he")[self.rows[index]])
        views: list[Tensor] = self.transform(image)
        return views
