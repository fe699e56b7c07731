"""The patches of each step."""

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from morefromless.config import Arm, RunConfig
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.pairs import derived_seed


def check_batch(patches: int, batch: int, arm: Arm | None = None) -> None:
    """Raise `ConfigError` if the training patches do not fill one batch."""
    kind, remedy = "training patches", "ingest it without --split test"
    if arm and arm.supervised:
        kind, remedy = f"labelled patches that {arm.kind} arms train on", "label patches in train"
    if not patches:
        raise ConfigError(f"The store has no {kind}; {remedy}.")
    if batch > patches:
        raise ConfigError(
            f"--batch {batch} is larger than the {patches} {kind}; choose {patches} or fewer."
        )


def largest_batch(config: RunConfig, patches: int) -> int:
    """`--batch`, or, with fewer patches, the largest number that all devices share evenly."""
    return min(config.train.batch, patches - patches % config.devices)


def batch_size(config: RunConfig, patches: int) -> int:
    """Patches per step of a run on this many patches.

    For fine-tuning, `--batch` is the batch size of the pretraining run. If fewer patches have a
    label, a fine-tuning step uses all of them.
    """
    reduced = largest_batch(config, patches) if config.arm.pretraining_arm else 0
    return reduced or config.train.batch


PREFETCH_STEPS = 4
"""Number of steps that shards are fetched in advance."""
SHUFFLE_WINDOW = 16
"""Number of shards over which patches are shuffled. The patches of a shard were drawn at random, so
a larger window would change little (docs/how-to/larger-than-the-disk.md)."""


class Steps:
    """Batch sampler: the patches of every step from `first_step()` to `total`.

    Each epoch is a permutation determined by (seed, epoch). An incomplete last batch is dropped, as
    in the authors' code. The order depends only on the step, so training can resume in the middle
    of an epoch. Each of `world` processes uses its share of each batch. If `shards` gives the shard
    number of each patch, (patches,), the permutation reads a few shards at a time.
    """

    def __init__(
        self,
        patches: int,
        *,
        batch: int,
        epochs: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        shards: npt.NDArray[np.int64] | None = None,
    ) -> None:
        check_batch(patches, batch)
        self.batch = batch
        self.per_epoch = patches // batch
        self.total = epochs * self.per_epoch
        self.rank, self.world = rank, world
        self.first_step: Callable[[], int] = lambda: 0
        self.prefetch_callback: Callable[[npt.NDArray[np.int64]], None] = lambda _: None
        """Called with the positions of a step, `PREFETCH_STEPS` steps before that step."""

        @lru_cache(maxsize=2)  # for this and the next epoch; local, so that finished runs are freed
        def order(epoch: int) -> npt.NDArray[np.int64]:
            random = np.random.default_rng(derived_seed(seed, epoch))
            return (
                random.permutation(patches)
                if shards is None
                else windowed_permutation(shards, random)
            )

        self._order = order

    @classmethod
    def of(cls, config: RunConfig, store: Store, rows: npt.NDArray[np.int64]) -> "Steps":
        """The steps of a run on these training patches, for one process; set `rank` and `world` for
        several."""
        batch = batch_size(config, len(rows))
        check_batch(len(rows), batch, config.arm)
        return cls(
            len(rows),
            batch=batch,
            epochs=config.epochs,
            seed=config.seed,
            shards=None if store.shards is None else store.shards.number[rows],
        )

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[list[int]]:
        local_batch = self.batch // self.world
        for step in range(self.first_step(), self.total):
            self.prefetch_callback(self.positions(min(step + PREFETCH_STEPS, self.total - 1)))
            local_positions = self.positions(step)[
                self.rank * local_batch : (self.rank + 1) * local_batch
            ]
            yield local_positions.tolist()

    def positions(self, step: int) -> npt.NDArray[np.int64]:
        """Positions, among the training patches, of the whole batch of one step."""
        epoch, within = divmod(step, self.per_epoch)
        return self._order(epoch)[within * self.batch : (within + 1) * self.batch]


def windowed_permutation(
    shards: npt.NDArray[np.int64], random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Permute patches so that about `SHUFFLE_WINDOW` shards are read at a time; `shards` (N,) has
    the shard of each patch.

    Shards are permuted, and the patches of each shard are spread over the next `SHUFFLE_WINDOW`
    places. With at most `SHUFFLE_WINDOW` shards, all patches are permuted freely.
    """
    distinct, inverse = np.unique(shards, return_inverse=True)
    if len(distinct) <= SHUFFLE_WINDOW:
        return random.permutation(len(shards))
    places = random.permutation(len(distinct))[inverse]
    return np.argsort(places + SHUFFLE_WINDOW * random.random(len(shards)), kind="stable")
