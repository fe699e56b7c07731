"""The engine: Lightning around one module, resumable at any step."""

import errno
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor, nn
from torch.optim import Optimizer

from morefromless import files
from morefromless.config import RunConfig
from morefromless.data.store import Store
from morefromless.devices import check_compile, check_precision, resolve_device
from morefromless.errors import ConfigError
from morefromless.evaluation.metadata import describe
from morefromless.objectives import Loss
from morefromless.pairs import channels_last
from morefromless.runs import Run
from morefromless.training.curve import Curve
from morefromless.training.diagnostics import check_finite
from morefromless.training.feed import Batch, Feed, Steps
from morefromless.training.loggers import loggers
from morefromless.training.preparation import compiling, keeping_statistics, prepare
from morefromless.training.progress import Progress
from morefromless.training.schedule import scheduler, warmup_length
from morefromless.training.synchronise import synchronise

LOG_EVERY = 10
"""Steps between two whose losses are checked and logged, beside the first and the last. The others
ask no device for a value, so that a GPU is never waited for."""

Measures = Callable[[], dict[str, Tensor]]
"""What is logged of a step beside its loss, by name."""

PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


class Learner(pl.LightningModule):
    """A network with the paper's optimiser: Adam under a warm-up cosine (2.2).

    What is learned is received: `objective(images, batch)` gives the loss, and a function that is
    called in steps that are logged, for what to log beside it. `feed` and `seed` decide which
    patches and views make up a step.
    """

    def __init__(
        self,
        network: nn.Module,
        feed: Feed,
        config: RunConfig,
        steps: Steps,
        objective: Callable[[dict[str, Tensor], Batch], tuple[Loss, Measures]],
    ) -> None:
        super().__init__()
        self.network = network
        self.feed, self.config, self.steps, self.objective = feed, config, steps, objective

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        del batch_idx  # counts from where a resumed run began; the step is what all follows from
        step = self.global_step
        seed = self.config.seed
        # Dropout, where an encoder has any, follows from the step as the views do.
        _seed((seed << 32) + step * self.steps.world + self.steps.rank, self.device)
        images = self.feed.pair.augment(
            self.feed.images(batch), seed=seed, step=step * self.steps.world + self.steps.rank
        )
        images = {name: channels_last(batch) for name, batch in images.items()}
        frozen = self.feed.representations(batch)
        images |= {name: features.to(self.device) for name, features in frozen.items()}
        loss, measures = self.objective(images, batch)
        if step % LOG_EVERY == LOG_EVERY - 1 or step in (0, self.steps.total - 1):
            check_finite(loss, step)
            terms = {f"term/{name}": value.detach() for name, value in loss.terms.items()}
            rate = float(self.trainer.optimizers[0].param_groups[0]["lr"])
            values: dict[str, Any] = {
                "loss": loss.total.detach(),
                **terms,
                **measures(),
                "lr": rate,
            }
            self.log_dict(values, logger=False)  # for `Progress`
            # Lightning itself would leave out the first step and the last.
            for logger in self.loggers:
                logger.log_metrics({name: float(value) for name, value in values.items()}, step)
                logger.save()
        return loss.total

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        with keeping_statistics(self.network, self.config):
            super().backward(loss, *args, **kwargs)

    def configure_gradient_clipping(self, optimizer: Optimizer, *_: Any, **__: Any) -> None:
        """Each weight tensor's gradient by itself, as Keras' `clipnorm` does.

        The authors' loss is a sum over the batch, so that their gradients are `batch` times ours.
        """
        if self.config.train.clip_each is None:
            return
        for weights in (w for group in optimizer.param_groups for w in group["params"]):
            if weights.grad is not None:
                weights.grad.mul_(self.config.train.batch)
                nn.utils.clip_grad_norm_([weights], self.config.train.clip_each)

    def configure_optimizers(self) -> Any:
        trained = [weights for weights in self.network.parameters() if weights.requires_grad]
        optimizer = torch.optim.Adam(
            trained, lr=self.config.train.lr, eps=self.config.train.epsilon, fused=True
        )
        schedule = scheduler(
            optimizer,
            total_steps=self.steps.total,
            warmup_steps=warmup_length(self.steps.per_epoch, self.config.train.warmup),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def fit(learner: Learner, run: Run, curve: Curve | None) -> None:
    """Train from the run's checkpoint, or from the start, to the end; then write the weights."""
    config, steps = learner.config, learner.steps
    _quiet()
    learner.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    prepare(learner.network, config.machine)
    device = resolve_device(config.machine.device)
    if config.devices > 1:
        synchronise(learner.network, device)
    progress, clock = Progress(steps.total, steps.per_epoch, run.path.name), _Clock()
    callbacks: list[Callback] = [
        progress,
        clock,
        ModelCheckpoint(
            dirpath=run.path,
            filename=run.checkpoint.stem,
            every_n_train_steps=config.machine.checkpoint_every,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        ),
        *([curve] if curve else []),
        _Terminated(),
    ]
    # In a SLURM job Lightning would else take the job's tasks for its processes, and wait for those
    # that nobody started; and upon SIGUSR1 save a checkpoint of its own, elsewhere, and queue the
    # job again. Here a command starts its processes itself, and who submitted the job queues it
    # again: the run goes on from resume.ckpt.
    plugins: list[Any] = [_WholeCheckpoints(), LightningEnvironment()]
    trainer = pl.Trainer(
        accelerator=device,  # Lightning's own `auto` would take an Apple GPU
        devices=config.devices,
        strategy="ddp" if config.devices > 1 else "auto",
        precision=PRECISION[config.train.precision],
        max_epochs=1,  # one stream of steps: an epoch of ours is `steps.per_epoch` of them
        callbacks=callbacks,
        plugins=plugins,
        default_root_dir=run.path,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    steps.start = lambda: trainer.global_step
    steps.rank, steps.world = trainer.global_rank, trainer.world_size
    resume = run.resumable()
    pin = trainer.strategy.root_device.type == "cuda"
    loader = learner.feed.loader(steps, config.machine.workers, pin)
    try:
        with (
            _explaining_full_disk(run.checkpoint),
            compiling(config.machine),
            loggers(run, config) as trainer.loggers,
        ):
            trainer.fit(learner, loader, ckpt_path=resume, weights_only=True)
    except SystemExit as stopped:
        if isinstance(stopped.__context__, KeyboardInterrupt):  # Lightning makes an exit of it
            raise KeyboardInterrupt from None
        raise
    if trainer.is_global_zero:
        weights = learner.network.state_dict()
        store = Store.open(config.store)  # labelled as it is, and not with the task
        head = learner.feed.store.classes if config.arm.supervised else ()
        run.finish(
            weights,
            {
                "steps": steps.total,
                "seconds": round(clock.seconds, 1),
                "resumed": resume is not None,
                "device": str(trainer.strategy.root_device),
                "threads": torch.get_num_threads(),
            },
            msgspec.to_builtins(describe(config, weights, store, head)),
        )


class _Clock(Callback):
    """Seconds of training, those before the checkpoint that a resumed run goes on from included."""

    def __init__(self) -> None:
        self.earlier, self.began = 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.earlier + time.perf_counter() - self.began

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.earlier = float(state_dict["seconds"])


class _WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are written beside the last one and then take its place.

    Lightning's own way is through the system's folder of temporary files. From another file system
    the last step is a copy, so a kill or a full disk would leave neither the last nor the new one.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        del storage_options
        with files.replacing(Path(path)) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)


class _Terminated(Callback):
    """Leaves SIGTERM to who handled it before. submitit does, as a cluster sends it ahead of the
    signal upon which the job is queued again; Lightning would end the job at its next step."""

    def __init__(self) -> None:
        self.handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        del trainer, pl_module
        if callable(self.handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handler)


@contextmanager
def _explaining_full_disk(path: Path) -> Iterator[None]:
    """Raise `StorageError` for `path` where the block raised for want of space, in whatever words:
    PyTorch raises errors of its own after the system's."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
                with files.explaining(path):
                    raise OSError(cause.errno, cause.strerror) from error
            cause = cause.__cause__ or cause.__context__
        raise


def _seed(seed: int, device: torch.device) -> None:
    """`torch.manual_seed` of the device that trains. That function itself takes 2 ms where PyTorch
    could use a GPU and there is none: it keeps a stack trace for when there will be."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def is_rank_zero(config: RunConfig) -> bool:
    """Whether this process is the one, or the first, that trains a run."""
    return config.devices == 1 or getattr(rank_zero_only, "rank", 0) == 0


def device_of(config: RunConfig) -> torch.device:
    """Where a run's patches are, and its threads set. Raises `ConfigError` where it has none, does
    not compute in the run's precision or has no compiler where asked, and where SLURM has started a
    process for each device already."""
    device = resolve_device(config.machine.device)
    check_precision(config.train.precision, device)
    if config.machine.compile:
        check_compile(device)
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "1")  # of srun, not of the job
    if config.devices > 1 and tasks != "1":
        raise ConfigError(
            f"srun started this command {tasks} times, and --devices {config.devices} starts its "
            "processes itself; start it once, with srun --ntasks 1 or without srun."
        )
    if config.threads:
        torch.set_num_threads(config.threads)
    return torch.device("cpu" if config.devices > 1 else device)


def _quiet() -> None:
    """Lightning's hints speak to people who wrote the training loop; ours did not."""
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
