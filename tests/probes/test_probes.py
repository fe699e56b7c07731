"""Probes against scikit-learn and a plain torch loop."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from morefromless.config import Probe
from morefromless.devices import threads
from morefromless.errors import ConfigError, DataError
from morefromless.probes import (
    FittedProbe,
    LinearProbe,
    build_probe,
    check_features,
    label_subset,
    softmax,
)
from morefromless.probes.ridge import fit_ridge_probe
from morefromless.probes.softmax import fit_linear_probe


def blobs(n: int, dim: int, classes: int, spread: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Gaussian classes around random centres; small `spread` makes them separable."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, dim, generator=draw)
    labels = torch.randint(classes, (n,), generator=draw)
    return centres[labels] + spread * torch.randn(n, dim, generator=draw), labels


def accuracy(probe: LinearProbe, x: Tensor, y: Tensor) -> float:
    return float((probe.logits(x).argmax(1) == y).float().mean())


@pytest.mark.parametrize(("batch", "options"), [(128, {}), (64, {"batch": 64})])
def test_linear_probe_matches_a_plain_torch_loop(batch: int, options: dict[str, int]) -> None:
    x, y = blobs(150, 6, 3, 1.0)
    probe = fit_linear_probe(x, y, 3, epochs=5, lr=1e-2, seed=3, **options)

    draw = torch.Generator().manual_seed(3)
    layer = nn.Linear(6, 3)
    bound = (6 / 9) ** 0.5
    with torch.no_grad():
        layer.weight.copy_(torch.rand(3, 6, generator=draw) * 2 * bound - bound)
        layer.bias.zero_()
    adam = torch.optim.Adam(layer.parameters(), lr=1e-2)
    for _ in range(5):
        order = torch.randperm(150, generator=draw)
        for rows in torch.split(order, batch):
            adam.zero_grad()
            nn.functional.cross_entropy(layer(x[rows]), y[rows]).backward()
            adam.step()

    torch.testing.assert_close(probe.weight, layer.weight.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(probe.bias, layer.bias.detach(), rtol=1e-4, atol=1e-5)


def test_linear_probe_converges_to_logistic_regression() -> None:
    x, y = blobs(600, 4, 3, 1.5)
    probe = fit_linear_probe(x, y, 3, epochs=1000, lr=5e-2, batch=600)
    reference = LogisticRegression(C=1e6, tol=1e-8, max_iter=2000).fit(x.numpy(), y.numpy())
    assert reference.score(x.numpy(), y.numpy()) < 0.95
    expected = torch.from_numpy(reference.predict_proba(x.numpy())).float()
    torch.testing.assert_close(probe.probabilities(x), expected, rtol=0, atol=0.01)


def test_linear_probe_separates_separable_classes() -> None:
    x, y = blobs(400, 16, 5, 0.1)
    reference = LogisticRegression(C=1e6, max_iter=2000).fit(x.numpy(), y.numpy())
    assert reference.score(x.numpy(), y.numpy()) == 1
    assert accuracy(fit_linear_probe(x, y, 5, lr=1e-2), x, y) == 1


def test_linear_probe_depends_only_on_its_seed() -> None:
    x, y = blobs(200, 8, 3, 1.0)
    state = torch.get_rng_state()
    first = fit_linear_probe(x, y, 3, epochs=3, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    repeated = fit_linear_probe(x, y, 3, epochs=3, seed=1)
    assert torch.equal(first.weight, repeated.weight)
    assert torch.equal(first.bias, repeated.bias)
    assert not torch.equal(first.weight, fit_linear_probe(x, y, 3, epochs=3, seed=2).weight)


def test_linear_probe_uses_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    thread_counts = []
    step = softmax.adam

    def recording_adam(*args: Any, **options: Any) -> None:
        thread_counts.append(torch.get_num_threads())
        step(*args, **options)

    monkeypatch.setattr(softmax, "adam", recording_adam)
    with threads(2):
        fit_linear_probe(*blobs(200, 8, 3, 1.0), 3, epochs=3)
        assert torch.get_num_threads() == 2
    assert set(thread_counts) == {1}


def test_linear_probe_ignores_inference_mode_and_autocast() -> None:
    x, y = blobs(200, 8, 3, 1.0)
    plain = fit_linear_probe(x, y, 3, epochs=3)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        inside = fit_linear_probe(x, y, 3, epochs=3)
        assert torch.equal(inside.logits(x), plain.logits(x))
    assert torch.equal(inside.weight, plain.weight)


def test_standardised_probe_ignores_the_scale_of_features() -> None:
    x, y = blobs(300, 8, 3, 0.5)
    scaled = 1e-3 * x * torch.arange(1, 9) + 5
    scaled = torch.cat([scaled, torch.full((300, 1), 0.1)], 1)  # a feature that never varies
    x = torch.cat([x, torch.zeros(300, 1)], 1)
    expected = fit_linear_probe(x, y, 3, epochs=20, lr=1e-2, standardise=True)
    standardised = fit_linear_probe(scaled, y, 3, epochs=20, lr=1e-2, standardise=True)
    torch.testing.assert_close(standardised.logits(scaled), expected.logits(x), rtol=0, atol=0.02)
    unscaled = fit_linear_probe(scaled, y, 3, epochs=20, lr=1e-2)
    assert accuracy(unscaled, scaled, y) < accuracy(standardised, scaled, y) - 0.1


@pytest.mark.parametrize(("n", "dim", "classes"), [(300, 20, 4), (40, 90, 4), (300, 20, 2)])
def test_ridge_probe_equals_scikit_learn(n: int, dim: int, classes: int) -> None:
    x, y = blobs(n, dim, classes, 2.0)
    probe = fit_ridge_probe(x, y, classes, strength=0.01)
    centred = x.double() - x.double().mean(0)
    alpha = 0.01 * centred.square().sum().item()
    reference = RidgeClassifier(alpha=alpha).fit(x.double().numpy(), y.numpy())
    expected = torch.from_numpy(reference.decision_function(x.double().numpy())).float()
    logits = probe.logits(x)
    if classes == 2:  # scikit-learn keeps one column: the second class
        torch.testing.assert_close(logits[:, 0], -logits[:, 1], rtol=0, atol=1e-5)
        logits = logits[:, 1]
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


def test_ridge_probe_ignores_units_and_copies_of_features() -> None:
    x, y = blobs(100, 12, 3, 1.0)
    logits = fit_ridge_probe(x, y, 3).logits(x)
    for equivalent in (1000 * x, torch.cat([x, x], 1), torch.cat([x, torch.ones(100, 50)], 1)):
        torch.testing.assert_close(
            fit_ridge_probe(equivalent, y, 3).logits(equivalent), logits, rtol=0, atol=1e-4
        )


@pytest.mark.parametrize("shape", [(50, 4), (4, 50)])
def test_ridge_probe_of_a_collapsed_encoder_predicts_class_frequencies(
    shape: tuple[int, int],
) -> None:
    x, y = torch.ones(shape), torch.arange(shape[0]) % 4 % 3
    expected = 2 * torch.bincount(y, minlength=5) / len(y) - 1
    torch.testing.assert_close(fit_ridge_probe(x, y, 5).logits(x[:1])[0], expected)


@pytest.mark.parametrize("fit", [fit_linear_probe, fit_ridge_probe])
def test_invalid_input_is_refused(fit: Callable[..., LinearProbe]) -> None:
    x, y = blobs(20, 4, 3, 1.0)
    with pytest.raises(DataError, match="from 0 to 2, but the probe has 2 classes"):
        fit(x, y, 2)
    with pytest.raises(ValueError, match="expected features"):
        fit(x, y[:-1], 3)
    x[3, 1], x[3, 2], x[5, 0] = np.nan, np.inf, np.nan
    with pytest.raises(DataError, match="features of 2 of 20 patches are not finite"):
        fit(x, y, 3)


def test_finite_features_with_an_infinite_sum_are_accepted() -> None:
    largest = torch.full((4, 3), torch.finfo(torch.float32).max)
    check_features(largest, torch.tensor([0, 1, 0, 1]), 2)


def test_label_subsets_are_nested_and_have_every_class() -> None:
    labels = np.repeat([0, 1, 2], [100, 40, 6])
    subsets = {share: label_subset(labels, share, 7) for share in (1.0, 0.3, 0.1, 0.01)}
    np.testing.assert_array_equal(subsets[1.0], np.arange(146))
    assert [np.bincount(labels[rows]).tolist() for rows in subsets.values()] == [
        [100, 40, 6],
        [30, 12, 2],
        [10, 4, 1],
        [1, 1, 1],
    ]
    assert set(subsets[0.01]) < set(subsets[0.1]) < set(subsets[0.3])
    assert set(label_subset(labels, 0.1, 8)) != set(subsets[0.1])


def fit_probe(options: Probe, x: Tensor, y: Tensor, classes: int) -> FittedProbe:
    method = build_probe(options)
    return method.fitted(method.fit(x, y, classes, options, seed=3))


def test_nearest_neighbours_match_scikit_learn() -> None:
    (x, y), (queries, _) = blobs(300, 8, 3, 1.5), blobs(50, 8, 3, 1.5, seed=1)
    reference = KNeighborsClassifier(7, metric="cosine").fit(x.numpy(), y.numpy())
    probabilities = fit_probe(Probe(probe="knn:7"), x, y, 3).probabilities(queries)
    np.testing.assert_allclose(probabilities, reference.predict_proba(queries.numpy()), atol=1e-6)
    with pytest.raises(ConfigError, match=r"knn:300 uses all of the 300 .* such as knn:1"):
        fit_probe(Probe(probe="knn:300"), x, y, 3)  # the same prediction for every patch


def test_named_probe_matches_its_fit_function() -> None:
    x, y = blobs(150, 6, 3, 1.0)
    options = Probe(probe_epochs=5, probe_lr=1e-2, standardise=True)
    plain = fit_linear_probe(x, y, 3, epochs=5, lr=1e-2, standardise=True, seed=3)
    for probe, spec in ((plain, options), (fit_ridge_probe(x, y, 3), Probe(probe="ridge"))):
        assert torch.equal(fit_probe(spec, x, y, 3).probabilities(x), probe.probabilities(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Probe(probe="knn:0"), "uses no neighbours"),
        (Probe(probe="ridge:-1"), "is not a valid penalty"),
        (Probe(probe="knm"), "did you mean knn"),
        (Probe(probe="knn:5", standardise=True), "has no --standardise"),
        (Probe(probe="ridge", probe_epochs=5), "has no --probe-epochs"),
    ],
)
def test_invalid_probe_options_are_refused(options: Probe, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_probe(options)
