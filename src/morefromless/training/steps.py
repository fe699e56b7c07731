"""Which patches make up each step."""

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from morefromless.config import Arm, RunConfig
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.pairs import derived_seed


def check_batch(patches: int, batch: int, arm: Arm | None = None) -> None:
    """Raise `ConfigError` where the training patches do not fill one batch."""
    kind, remedy = "training patches", "ingest it without --split test"
    if arm and arm.supervised:
        kind, remedy = f"labelled patches that {arm.kind} arms train on", "label some in train"
    if not patches:
        raise ConfigError(f"The store has no {kind}; {remedy}.")
    if batch > patches:
        raise ConfigError(
            f"--batch {batch} is larger than the {patches} {kind}; choose {patches} or fewer."
        )


def filled_batch(config: RunConfig, patches: int) -> int:
    """`--batch`, or as many of fewer patches as the devices can share evenly."""
    return min(config.train.batch, patches - patches % config.devices)


def batch_size(config: RunConfig, patches: int) -> int:
    """Patches per step of a run on so many. `--batch` is that of the run which a fine-tuned encoder
    begins from; where fewer patches have a label, all of them are a step of its own."""
    fitting = filled_batch(config, patches) if config.arm.start else 0
    return fitting or config.train.batch


AHEAD = 4
"""Steps whose shards are fetched before they are needed."""
WINDOW = 16
"""Shards over which patches are shuffled. Those of a shard were drawn at random, so more would
change little (docs/how-to/larger-than-the-disk.md)."""


class Steps:
    """The patches of every step from `start()` to `total`: a batch sampler.

    Each epoch is a permutation that follows from (seed, epoch); what does not fill a batch is left
    out, as in the authors' code. The order depends on the step alone, so training resumes in the
    middle of an epoch. Each of `world` processes takes its share of each batch. Where patches stand
    in `shards`, (patches,) the number of each one's, the permutation reads a few of them at a time.
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
        self.start: Callable[[], int] = lambda: 0
        self.announce: Callable[[npt.NDArray[np.int64]], None] = lambda _: None
        """Given the positions of a step `AHEAD` steps before it."""

        @lru_cache(maxsize=2)  # of the epoch that is going on, and of the next; keeps no run alive
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
        """Those of a run on these training patches, in one process until `rank` and `world` say
        otherwise."""
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
        share = self.batch // self.world
        for step in range(self.start(), self.total):
            self.announce(self.positions(min(step + AHEAD, self.total - 1)))
            chosen = self.positions(step)[self.rank * share : (self.rank + 1) * share]
            yield chosen.tolist()

    def positions(self, step: int) -> npt.NDArray[np.int64]:
        """Positions among the training patches of one step's whole batch."""
        epoch, within = divmod(step, self.per_epoch)
        return self._order(epoch)[within * self.batch : (within + 1) * self.batch]


def windowed_permutation(
    shards: npt.NDArray[np.int64], random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """A permutation of patches that reads about `WINDOW` shards at a time; `shards` (N,) of each.

    Shards are permuted, and the patches of each are spread over the next `WINDOW` places. With
    `WINDOW` shards or fewer, all patches are permuted.
    """
    distinct, inverse = np.unique(shards, return_inverse=True)
    if len(distinct) <= WINDOW:
        return random.permutation(len(shards))
    places = random.permutation(len(distinct))[inverse]
    return np.argsort(places + WINDOW * random.random(len(shards)), kind="stable")
