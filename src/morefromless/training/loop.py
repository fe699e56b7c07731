"""The training loop: a Lightning module that can resume at any step."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor, nn
from torch.optim import Optimizer

from morefromless.config import RunConfig
from morefromless.data.store import Store
from morefromless.devices import check_compile, check_precision, resolve_device
from morefromless.errors import ConfigError
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.evaluation.metadata import build_metadata
from morefromless.objectives import Loss
from morefromless.pairs import channels_last
from morefromless.progress import TERM_PREFIX
from morefromless.runs import Run
from morefromless.torch_state import seed_generators
from morefromless.training.curve import Curve
from morefromless.training.diagnostics import Measure, check_finite, start_copy
from morefromless.training.feed import Batch, Feed
from morefromless.training.lightning import (
    AtomicCheckpoints,
    Clock,
    SigtermHandler,
    raising_full_disk_errors,
    without_hints,
)
from morefromless.training.loggers import loggers
from morefromless.training.preparation import prepare, preserving_batch_norm, raising_compile_errors
from morefromless.training.progress import Progress
from morefromless.training.schedule import scheduler, warmup_length
from morefromless.training.steps import Steps
from morefromless.training.stream import SideStream
from morefromless.training.synchronise import synchronise

LOG_EVERY = 10
"""Interval in steps at which the loss is checked and logged, in addition to the first and last
step. These steps read values during the backward pass; others never wait for the GPU."""

Measures = Callable[[], dict[str, Measure]]
"""Function that returns the other values that a step logs in addition to its loss, by name."""

PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


class Learner(pl.LightningModule):
    """A network with the paper's optimiser: Adam with a warm-up cosine schedule (2.2).

    `objective(images, batch)` returns the loss, and a function that computes the other logged
    values. That function is called only in logged steps. `steps`, `feed` and the config's seed
    determine the patches and views of a step.
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
        self.logged: dict[str, float] = {}
        """Values of the last logged step."""
        self._finish_copy: Callable[[], dict[str, float]] | None = None

    def on_fit_start(self) -> None:
        self._side_stream = SideStream(self.device)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        with self._side_stream.use():
            moved: Batch = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return moved

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        del batch_idx  # the global step determines everything, also after a resume
        step = self.global_step
        # The step determines dropout, if an encoder has any, as it determines the views.
        seed_generators((self.config.seed << 32) + self._unique_step(step), self.device)
        with self._side_stream.use():
            images = self._images(batch, step)
        self._side_stream.hand_to_current([*batch.values(), *images.values()])
        loss, measures = self.objective(images, batch)
        if step % LOG_EVERY == LOG_EVERY - 1 or step in (0, self.steps.total - 1):
            terms = {f"{TERM_PREFIX}{name}": Measure(value) for name, value in loss.terms.items()}
            self._finish_copy = start_copy({"loss": Measure(loss.total), **terms, **measures()})
        return loss.total

    def _images(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Inputs of a step by branch: views, or the features of a frozen encoder."""
        views = self.feed.pair.augment(
            self.feed.images(batch), seed=self.config.seed, step=self._unique_step(step)
        )
        frozen = self.feed.representations(batch)
        return {name: channels_last(images) for name, images in views.items()} | {
            name: features.to(self.device) for name, features in frozen.items()
        }

    def _unique_step(self, step: int) -> int:
        """A unique number for each step and process."""
        return step * self.steps.world + self.steps.rank

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        with preserving_batch_norm(self.network, self.config):
            super().backward(loss, *args, **kwargs)

    def on_after_backward(self) -> None:
        if self._finish_copy is None:
            return
        step, values, self._finish_copy = self.global_step, self._finish_copy(), None
        terms = {
            n.removeprefix(TERM_PREFIX): v for n, v in values.items() if n.startswith(TERM_PREFIX)
        }
        check_finite(values["loss"], terms, step)
        rate = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        self.logged = {**values, "lr": rate}
        # Lightning itself would not log the first and the last step.
        for logger in self.loggers:
            logger.log_metrics(self.logged, step)
            logger.save()

    def configure_gradient_clipping(self, optimizer: Optimizer, *_: Any, **__: Any) -> None:
        """Clip the gradient of each weight tensor separately, as Keras' `clipnorm` does.

        The authors' loss is a sum over the batch, so their gradients are `batch` times ours.
        """
        if self.config.train.clip_each is None:
            return
        for weights in (w for group in optimizer.param_groups for w in group["params"]):
            if weights.grad is not None:
                weights.grad.mul_(self.steps.batch)
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


@without_hints()
def fit(learner: Learner, run: Run, encoders: Mapping[str, FrozenEncoder], store: Store) -> None:
    """Train from the run's checkpoint, or from the start, to the end, and save the weights.

    If the run records learning curves, they are those of `encoders` on the patches of `store`.
    """
    config, steps = learner.config, learner.steps
    learner.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    prepare(learner.network, config.machine)
    device = resolve_device(config.machine.device)
    if config.devices > 1:
        synchronise(learner.network, device)
    clock = Clock()
    progress = Progress(steps.total, steps.per_epoch, run.path.name, lambda: learner.logged)
    callbacks: list[Callback] = [progress, clock]
    if every := config.machine.probe_every:
        callbacks.append(Curve(encoders, store, run.path / "curve.csv", every, steps.total))
    trainer = _trainer(config, run, device, callbacks)
    steps.first_step = lambda: trainer.global_step
    steps.rank, steps.world = trainer.global_rank, trainer.world_size
    checkpoint = run.resumable_checkpoint()
    pin = trainer.strategy.root_device.type == "cuda"
    loader = learner.feed.loader(steps, config.machine.workers, pin)
    try:
        with (
            raising_full_disk_errors(run.checkpoint),
            raising_compile_errors(config.machine),
            loggers(run, config) as trainer.loggers,
        ):
            trainer.fit(learner, loader, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning converts it to SystemExit
            raise KeyboardInterrupt from None
        raise
    if trainer.is_global_zero:
        facts = {
            "steps": steps.total,
            "batch": steps.batch,
            "seconds": round(clock.seconds, 1),
            "resumed": checkpoint is not None,
            "device": str(trainer.strategy.root_device),
            "threads": torch.get_num_threads(),
        }
        _finish(learner, run, facts)
    trainer.strategy.barrier()  # every fine-tuning process reads the files of the first


def _trainer(config: RunConfig, run: Run, device: str, callbacks: Sequence[Callback]) -> pl.Trainer:
    checkpoints = ModelCheckpoint(
        dirpath=run.path,
        filename=run.checkpoint.stem,
        every_n_train_steps=config.machine.checkpoint_every,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
    # Without `LightningEnvironment`, Lightning would assume that the tasks of a SLURM job are its
    # own processes, and wait for processes that do not exist. On SIGUSR1 it would save its own
    # checkpoint elsewhere and requeue the job. Here the command starts its processes itself, and
    # the program that submitted the job requeues it: the run resumes from resume.ckpt.
    plugins: list[Any] = [AtomicCheckpoints(), LightningEnvironment()]
    return pl.Trainer(
        accelerator=device,  # Lightning's own `auto` would use an Apple GPU
        devices=config.devices,
        strategy="ddp" if config.devices > 1 else "auto",
        precision=PRECISION[config.train.precision],
        max_epochs=1,  # one stream of steps; an epoch is `steps.per_epoch` steps
        callbacks=[*callbacks, checkpoints, SigtermHandler()],
        plugins=plugins,
        default_root_dir=run.path,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )


def _finish(learner: Learner, run: Run, facts: Mapping[str, Any]) -> None:
    """Save the trained weights with the metadata that their use requires."""
    config, weights = learner.config, learner.network.state_dict()
    # The run's metadata needs the store's own labels; the learner's store has the task's labels.
    store = Store.open(config.store)
    head = learner.feed.store.classes if config.arm.supervised else ()
    run.finish(weights, facts, msgspec.to_builtins(build_metadata(config, weights, store, head)))


def is_rank_zero(config: RunConfig) -> bool:
    """Whether this process is the only or the first process of a run."""
    return config.devices == 1 or getattr(rank_zero_only, "rank", 0) == 0


def device_of(config: RunConfig) -> torch.device:
    """The device that holds a run's patches.

    Raises `ConfigError` if there is no such device, the device does not support the run's
    precision, `--compile` has no compiler, or SLURM has already started one process per device.
    """
    device = resolve_device(config.machine.device)
    check_precision(config.train.precision, device)
    if config.machine.compile:
        check_compile(device)
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "1")  # of the srun step, not of the job
    if config.devices > 1 and tasks != "1":
        raise ConfigError(
            f"srun started this command {tasks} times, but --devices {config.devices} starts its "
            "processes itself; start it once, with srun --ntasks 1 or without srun."
        )
    return torch.device("cpu" if config.devices > 1 else device)
