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
    network = nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Linear(width, 4)).double()
    if dead:
        nn.init.zeros_(network[2].weight)
    return network


LAYERS = ["0", "2"]
ARMS = {"plain": [_network(s) for s in range(3)], "wide": [_network(s, 9) for s in (7, 8)]}
BATCHES = [torch.randn(8, 5, generator=torch.Generator().manual_seed(s)).double() for s in range(3)]


def _batches(arms: dict[str, list[nn.Sequential]]) -> list[dict[str, Tensor]]:
    return [dict.fromkeys(arms, batch) for batch in BATCHES]


def _seeds(arms: dict[str, list[nn.Sequential]]) -> dict[str, list[int]]:
    """A different encoder for each run."""
    numbers = count()
    return {arm: [next(numbers) for _ in runs] for arm, runs in arms.items()}


def _reference_cka(a: nn.Sequential, b: nn.Sequential) -> np.ndarray:
    accumulator = Cka({"a": LAYERS, "b": LAYERS})
    for batch in BATCHES:
        accumulator.add({"a": a, "b": b}, {"a": batch, "b": batch})
    return accumulator.between("a", "b")


def test_every_combination_of_runs_counts_once() -> None:
    results = {
        (result.a, result.b): result
        for result in similarities(ARMS, dict.fromkeys(ARMS, LAYERS), _batches(ARMS), _seeds(ARMS))
    }
    assert set(results) == {("plain", "plain"), ("plain", "wide"), ("wide", "wide")}
    expected = [_reference_cka(a, b) for a, b in product(ARMS["plain"], ARMS["wide"])]
    np.testing.assert_allclose(results["plain", "wide"].mean, np.mean(expected, axis=0))
    np.testing.assert_allclose(results["plain", "wide"].spread, np.std(expected, axis=0, ddof=1))
    within = [_reference_cka(a, b) for a, b in combinations(ARMS["plain"], 2)]
    plain = results["plain", "plain"]
    assert len(plain.combinations) == 3  # each pair counts once, because it is one measurement
    diagonals = np.array([np.diag(m) for m in within])
    np.testing.assert_allclose(plain.diagonal.std(axis=0, ddof=1), diagonals.std(axis=0, ddof=1))
    assert np.isnan(results["wide", "wide"].spread).all()  # two runs have one pair
    np.testing.assert_allclose(plain.mean, np.mean([(m + m.T) / 2 for m in within], axis=0))
    np.testing.assert_allclose(plain.mean, plain.mean.T)
    np.testing.assert_allclose(plain.diagonal, diagonals)


def test_equal_seeds_are_compared_only_if_there_are_no_others() -> None:
    layers, seeds = dict.fromkeys(ARMS, LAYERS), {"plain": [0, 1, 2], "wide": [0, 1]}
    results = {
        (result.a, result.b): result for result in similarities(ARMS, layers, _batches(ARMS), seeds)
    }
    pairs = [(0, 1), (1, 0), (2, 0), (2, 1)]
    expected = [_reference_cka(ARMS["plain"][i], ARMS["wide"][j]) for i, j in pairs]
    np.testing.assert_allclose(results["plain", "wide"].combinations, expected)
    assert not results["plain", "wide"].equal_seeds
    arms = {name: runs[:1] for name, runs in ARMS.items()}
    (pair,) = similarities(arms, layers, _batches(arms), {"plain": [0], "wide": [0]})
    assert pair.equal_seeds
    assert len(pair.combinations) == 1


def test_arm_of_one_run_is_not_compared_with_itself() -> None:
    arms = {"one": ARMS["plain"][:1], "two": ARMS["wide"]}
    results = similarities(arms, dict.fromkeys(arms, LAYERS), _batches(arms), _seeds(arms))
    assert [(result.a, result.b) for result in results] == [("one", "two"), ("two", "two")]
    with pytest.raises(ConfigError, match="give another run"):
        similarities(
            {"one": ARMS["plain"][:1]}, {"one": LAYERS}, _batches({"one": []}), {"one": [0]}
        )


def test_constant_layer_is_excluded_and_named() -> None:
    """Its CKA is undefined, also for the arm if it is constant in only one run."""
    arms = {"plain": ARMS["plain"][:2], "dead": [_network(3), _network(4, dead=True)]}
    results = {
        (result.a, result.b): result
        for result in similarities(arms, dict.fromkeys(arms, LAYERS), _batches(arms), _seeds(arms))
    }
    result = results["plain", "dead"]
    assert result.rows == ("0", "2")
    assert result.columns == ("0",)
    assert result.constant_layers == ((), ("2",))
    assert np.isfinite(result.mean).all()
    assert result.diagonal.shape == (4, 1)
