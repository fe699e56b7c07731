"""CKA between arms: exactly all combinations of their runs."""

from itertools import combinations, count, product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from morefromless.analysis.cka import Cka
from morefromless.analysis.similarity import similarities
from morefromless.errors import ConfigError


def _network(seed: int, width: int = 6, dead: bool = False) -> nn.Sequential:
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Linear(width, 4)).double()
    if dead:
        nn.init.zeros_(made[2].weight)
    return made


LAYERS = ["0", "2"]
ARMS = {"plain": [_network(s) for s in range(3)], "wide": [_network(s, 9) for s in (7, 8)]}
BATCHES = [torch.randn(8, 5, generator=torch.Generator().manual_seed(s)).double() for s in range(3)]


def _seen(arms: dict[str, list[nn.Sequential]]) -> list[dict[str, Tensor]]:
    return [dict.fromkeys(arms, batch) for batch in BATCHES]


def _seeds(arms: dict[str, list[nn.Sequential]]) -> dict[str, list[int]]:
    """A different encoder for each run."""
    numbers = count()
    return {arm: [next(numbers) for _ in runs] for arm, runs in arms.items()}


def _direct(a: nn.Sequential, b: nn.Sequential) -> np.ndarray:
    made = Cka({"a": LAYERS, "b": LAYERS})
    for batch in BATCHES:
        made.add({"a": a, "b": b}, {"a": batch, "b": batch})
    return made.between("a", "b")


def test_every_combination_of_runs_counts_once() -> None:
    found = {
        (one.a, one.b): one
        for one in similarities(ARMS, dict.fromkeys(ARMS, LAYERS), _seen(ARMS), _seeds(ARMS))
    }
    assert set(found) == {("plain", "plain"), ("plain", "wide"), ("wide", "wide")}
    across = [_direct(a, b) for a, b in product(ARMS["plain"], ARMS["wide"])]
    np.testing.assert_allclose(found["plain", "wide"].mean, np.mean(across, axis=0))
    np.testing.assert_allclose(found["plain", "wide"].spread, np.std(across, axis=0, ddof=1))
    within = [_direct(a, b) for a, b in combinations(ARMS["plain"], 2)]
    own = found["plain", "plain"]
    assert len(own.combinations) == 3  # each pair counts once, because it is one measurement
    diagonals = np.array([np.diag(m) for m in within])
    np.testing.assert_allclose(own.diagonal.std(axis=0, ddof=1), diagonals.std(axis=0, ddof=1))
    assert np.isnan(found["wide", "wide"].spread).all()  # two runs have one pair
    np.testing.assert_allclose(own.mean, np.mean([(m + m.T) / 2 for m in within], axis=0))
    np.testing.assert_allclose(own.mean, own.mean.T)
    np.testing.assert_allclose(own.diagonal, diagonals)


def test_runs_of_one_seed_are_compared_only_where_there_are_no_others() -> None:
    layers, seeds = dict.fromkeys(ARMS, LAYERS), {"plain": [0, 1, 2], "wide": [0, 1]}
    found = {(o.a, o.b): o for o in similarities(ARMS, layers, _seen(ARMS), seeds)}
    pairs = [(0, 1), (1, 0), (2, 0), (2, 1)]
    expected = [_direct(ARMS["plain"][i], ARMS["wide"][j]) for i, j in pairs]
    np.testing.assert_allclose(found["plain", "wide"].combinations, expected)
    assert not found["plain", "wide"].equal_seeds
    arms = {name: runs[:1] for name, runs in ARMS.items()}
    (only,) = similarities(arms, layers, _seen(arms), {"plain": [0], "wide": [0]})
    assert only.equal_seeds
    assert len(only.combinations) == 1


def test_an_arm_of_one_run_is_not_held_against_itself() -> None:
    arms = {"one": ARMS["plain"][:1], "two": ARMS["wide"]}
    found = similarities(arms, dict.fromkeys(arms, LAYERS), _seen(arms), _seeds(arms))
    assert [(one.a, one.b) for one in found] == [("one", "two"), ("two", "two")]
    with pytest.raises(ConfigError, match="give another run"):
        similarities({"one": ARMS["plain"][:1]}, {"one": LAYERS}, _seen({"one": []}), {"one": [0]})


def test_a_layer_that_says_the_same_of_every_patch_is_left_out_and_named() -> None:
    """Its CKA is undefined, also for the arm if it is constant in only one run."""
    arms = {"plain": ARMS["plain"][:2], "dead": [_network(3), _network(4, dead=True)]}
    found = {
        (one.a, one.b): one
        for one in similarities(arms, dict.fromkeys(arms, LAYERS), _seen(arms), _seeds(arms))
    }
    one = found["plain", "dead"]
    assert one.rows == ("0", "2")
    assert one.columns == ("0",)
    assert one.constant_layers == ((), ("2",))
    assert np.isfinite(one.mean).all()
    assert one.diagonal.shape == (4, 1)
