"""The engine: Lightning around one module, resumable at any step."""

import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn

from morefromless.errors import ConfigError
from morefromless.options import TrainingOptions
from morefromless.pairs import laid_out
from morefromless.runs import Run
from morefromless.training.curve import Curve
from morefromless.training.feed import Batch, Feed, Steps
from morefromless.training.progress import Progress
from morefromless.training.schedule import scheduler, warmup_length
from morefromless.training.synchronise import synchronise

PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


class Learner(pl.LightningModule):
    """A network with the paper's optimiser: Adam under a warm-up cosine (2.2).

    What is learned is received: `loss(images, batch, step)` gives the scalar to minimise and what
    to log. `feed` and `seed` decide which patches and views make up a step.
    """

    def __init__(
        self,
        network: nn.Module,
        feed: Feed,
        options: TrainingOptions,
        steps: Steps,
        loss: Callable[[dict[str, Tensor], Batch, int], tuple[Tensor, dict[str, Tensor]]],
    ) -> None:
        super().__init__()
        self.network = network
        self.feed, self.options, self.steps, self.loss = feed, options, steps, loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        del batch_idx  # counts from where a resumed run began; the step is what all follows from
        step = self.global_step
        seed = self.options.seed
        # Dropout, where an encoder has any, follows from the step as the views do.
        torch.manual_seed((seed << 32) + step * self.steps.world + self.steps.rank)
        images = self.feed.pair.draw(
            self.feed.images(batch), seed=seed, step=step * self.steps.world + self.steps.rank
        )
        images = {name: laid_out(seen) for name, seen in images.items()}
        images |= {n: made.to(self.device) for n, made in self.feed.representations(batch).items()}
        total, logged = self.loss(images, batch, step)
        self.log_dict({"loss": total.detach(), **logged, "lr": self._rate()})
        return total

    def _rate(self) -> float:
        return float(self.trainer.optimizers[0].param_groups[0]["lr"])

    def configure_optimizers(self) -> Any:
        trained = [weights for weights in self.network.parameters() if weights.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=self.options.lr, fused=True)
        schedule = scheduler(
            optimizer,
            total_steps=self.steps.total,
            warmup_steps=warmup_length(self.steps.per_epoch, self.options.warmup),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def fit(learner: Learner, run: Run, curve: Curve | None, label: str) -> None:
    """Train from the run's checkpoint, or from the start, to the end; then write the weights."""
    options, steps = learner.options, learner.steps
    _quiet()
    learner.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if options.devices > 1:
        gpu = options.device != "cpu" and torch.cuda.is_available()
        synchronise(learner.network, "cuda" if gpu else "cpu")
    logs = run.path / "logs"
    progress = Progress(steps.total, label)
    callbacks: list[Callback] = [
        progress,
        ModelCheckpoint(
            dirpath=run.path,
            filename=run.checkpoint.stem,
            every_n_train_steps=options.checkpoint_every,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        ),
        *([curve] if curve else []),
    ]
    trainer = pl.Trainer(
        accelerator=options.device,
        devices=options.devices,
        strategy="ddp" if options.devices > 1 else "auto",
        precision=PRECISION[options.precision],
        max_epochs=1,  # one stream of steps: an epoch of ours is `steps.per_epoch` of them
        callbacks=callbacks,
        logger=[
            CSVLogger(logs, name="csv"),  # a resumed run adds a version, so nothing is lost
            TensorBoardLogger(str(logs), name="tensorboard"),
        ],
        log_every_n_steps=10,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    steps.start = lambda: trainer.global_step
    steps.rank, steps.world = trainer.global_rank, trainer.world_size
    resume = run.checkpoint if run.checkpoint.is_file() else None
    began = time.perf_counter()
    loader = learner.feed.loader(steps, options.workers, pin=trainer.num_devices > 0)
    trainer.fit(learner, loader, ckpt_path=resume, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    if trainer.is_global_zero:
        run.finish(
            learner.network.state_dict(),
            {
                "steps": steps.total,
                "seconds": round(time.perf_counter() - began, 1),
                "resumed": resume is not None,
                "device": str(trainer.strategy.root_device),
                "threads": torch.get_num_threads(),
            },
        )


def device_of(options: TrainingOptions) -> torch.device:
    """Where a run's patches are kept."""
    if options.device == "gpu" and not torch.cuda.is_available():
        raise ConfigError("--device gpu was asked for, but PyTorch sees no GPU here; use cpu.")
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.device == "cpu" or not torch.cuda.is_available() or options.devices > 1:
        return torch.device("cpu")
    return torch.device("cuda", 0)


def _quiet() -> None:
    """Lightning's hints speak to people who wrote the training loop; ours did not."""
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
