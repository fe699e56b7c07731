"""The patches of each step."""

import numpy as np
import pytest

from morefromless.errors import ConfigError
from morefromless.training.steps import Steps


def test_every_epoch_shuffles_all_patches() -> None:
    steps = Steps(20, batch=5, epochs=2, seed=0)
    batches = list(steps)
    first, second = np.concatenate(batches[:4]), np.concatenate(batches[4:])
    assert sorted(first) == sorted(second) == list(range(20))
    assert first.tolist() != second.tolist()


def test_incomplete_batches_are_dropped() -> None:
    steps = Steps(23, batch=5, epochs=3, seed=0)
    assert len(steps) == len(list(steps)) == 3 * 4
    assert all(len(batch) == 5 for batch in steps)


def test_resumed_steps_continue_the_same_batches() -> None:
    all_batches = list(Steps(20, batch=4, epochs=3, seed=7))
    resumed = Steps(20, batch=4, epochs=3, seed=7)
    resumed.first_step = lambda: 8  # in the middle of the second epoch
    assert list(resumed) == all_batches[8:]
    assert len(resumed) == 15


def test_prefetch_callback_runs_four_steps_ahead() -> None:
    steps, announced = Steps(20, batch=4, epochs=2, seed=7), []
    steps.prefetch_callback = announced.append
    batches = list(steps)
    expected = [*batches[4:], *[batches[-1]] * 4]
    assert [positions.tolist() for positions in announced] == expected


def test_processes_share_each_batch_without_overlap() -> None:
    batches = list(Steps(24, batch=6, epochs=1, seed=3))
    shares = [list(Steps(24, batch=6, epochs=1, seed=3, rank=r, world=2)) for r in range(2)]
    assert [a + b for a, b in zip(*shares, strict=True)] == batches


def test_different_seeds_give_different_orders() -> None:
    assert list(Steps(20, batch=4, epochs=1, seed=0)) != list(Steps(20, batch=4, epochs=1, seed=1))


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ConfigError, match="--batch 128 is larger than the 20 training patches"):
        Steps(20, batch=128, epochs=1, seed=0)
    assert len(Steps(20, batch=20, epochs=3, seed=0)) == 3
