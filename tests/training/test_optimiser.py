"""The authors' Adam: its epsilon, and separate gradient clipping for each weight tensor."""

from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from morefromless.config import RunConfig
from morefromless.errors import ConfigError
from morefromless.training.loop import Learner
from morefromless.training.pretrain import pretrain
from morefromless.training.steps import Steps
from tests.conftest import changed


def _clipped(gradients: list[Tensor], batch: int, norm: float) -> list[Tensor]:
    """Explicit form of Keras' clipping of the gradient of a sum over the batch."""
    clipped = []
    for gradient in gradients:
        summed = gradient * batch
        length = summed.square().sum().sqrt()
        clipped.append(summed * (norm / length) if length > norm else summed)
    return clipped


def test_every_tensor_is_clipped_separately(pretraining: RunConfig) -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    options = changed(pretraining, clip_each=0.5)
    steps = Steps(64, batch=24, epochs=1, seed=0)  # few labels: fewer than --batch
    learner = Learner(network, None, options, steps, None)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    torch.manual_seed(0)
    gradients = [
        torch.randn_like(w) * scale
        for w, scale in zip(network.parameters(), (1.0, 1e-4, 1e-2, 1e-3), strict=True)
    ]
    for weights, gradient in zip(network.parameters(), gradients, strict=True):
        weights.grad = gradient.clone()
    learner.configure_gradient_clipping(optimizer, None, None)
    expected = _clipped(gradients, steps.batch, 0.5)
    for weights, expected_gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(weights.grad, expected_gradient, rtol=1e-5, atol=1e-7)
    unclipped = Learner(network, None, pretraining, None, None)  # type: ignore[arg-type]
    before = [w.grad.clone() for w in network.parameters() if w.grad is not None]
    unclipped.configure_gradient_clipping(optimizer, None, None)
    for weights, gradient_before in zip(network.parameters(), before, strict=True):
        assert weights.grad is not None
        assert torch.equal(weights.grad, gradient_before)


@pytest.mark.parametrize("given", [{"clip_each": 1.0}, {"epsilon": 1e-3}, {"pairs": 0.4}])
def test_option_changes_the_trained_weights(pretraining: RunConfig, given: dict[str, Any]) -> None:
    short = changed(pretraining, epochs=1)
    plain_weights = load_file(pretrain(short).weights_path)
    changed_run = pretrain(changed(short, out=short.out.with_name("other"), **given))
    changed_weights = load_file(changed_run.weights_path)
    assert any(not torch.equal(changed_weights[key], plain_weights[key]) for key in plain_weights)
    assert changed_run.record.options[next(iter(given))] == next(iter(given.values()))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"clip_each": 0}, "--clip-each is 0.0; give a number above 0"),
        ({"epsilon": -1.0}, "--epsilon is -1"),
        ({"clip_each": 1.0, "precision": "16"}, "--clip-each needs unscaled gradients"),
        ({"pairs": 0.0}, "--pairs is 0; give a share above 0"),
    ],
)
def test_invalid_options_are_refused(
    pretraining: RunConfig, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        changed(pretraining, **given)
