"""Keras' ResNet-50 against a plain float64 forward pass."""

from math import prod, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from morefromless.analysis.layers import blocks, convolutions, stage_convolutions
from morefromless.config import RunConfig
from morefromless.encoders import build_encoder, check_encoder, without_weights
from morefromless.encoders.keras_v1 import KerasV1
from morefromless.errors import ConfigError
from morefromless.training.supervised import supervise
from tests.conftest import changed

pytestmark = pytest.mark.xdist_group("keras")  # the tests share a slow fixture

Array = npt.NDArray[Any]
Weights = dict[str, dict[str, Array]]
"""Variables of each layer, in Keras' order and layout."""

STAGES = {2: (3, 64), 3: (4, 128), 4: (6, 256), 5: (3, 512)}


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> Weights:
    """Random weights; a shape (h, w, in, out) is a convolution, others are BatchNorm."""
    rng = np.random.default_rng(seed)
    layers: Weights = {}
    for layer, shape in shapes.items():
        if len(shape) == 4:
            kernel = rng.standard_normal(shape, np.float32) * np.float32(sqrt(2 / prod(shape[:3])))
            layers[layer] = {"kernel": kernel, "bias": rng.normal(0, 0.1, shape[-1])}
        else:
            layers[layer] = {
                "gamma": rng.uniform(0.5, 1.5, shape),
                "beta": rng.normal(0, 0.3, shape),
                "moving_mean": rng.normal(0, 0.3, shape),
                "moving_variance": rng.uniform(0.5, 1.5, shape),
            }
    return {
        layer: {name: value.astype(np.float32) for name, value in variables.items()}
        for layer, variables in layers.items()
    }


def resnet50() -> dict[str, tuple[int, ...]]:
    """Keras' layers with weights, in Keras' order."""
    shapes: dict[str, tuple[int, ...]] = {"conv1": (7, 7, 3, 64)}
    inputs = 64
    for stage, (count, width) in STAGES.items():
        for block in range(1, count + 1):
            name = f"conv{stage}_block{block}"
            if block == 1:
                shapes[f"{name}_0"] = (1, 1, inputs, 4 * width)
            shapes[f"{name}_1"] = (1, 1, inputs, width)
            shapes[f"{name}_2"] = (3, 3, width, width)
            shapes[f"{name}_3"] = (1, 1, width, 4 * width)
            inputs = 4 * width
    pairs = [((f"{k}_conv", v), (f"{k}_bn", v[-1:])) for k, v in shapes.items()]
    return dict(entry for pair in pairs for entry in pair)


@pytest.fixture(scope="module")
def trained() -> tuple[KerasV1, Weights]:
    """A float64 encoder with random weights, and the same weights in Keras' layout."""
    weights = random_weights(resnet50())
    encoder = KerasV1()
    names = {
        "weight": ("kernel", "gamma"),
        "bias": ("bias", "beta"),
        "running_mean": ("moving_mean",),
        "running_var": ("moving_variance",),
    }
    with torch.no_grad():
        for name, tensor in encoder.network.state_dict().items():
            module, _, parameter = name.rpartition(".")
            layer = weights[module.replace(".", "_")]
            for variable in names.get(parameter, ()):
                if variable in layer:
                    value = torch.from_numpy(layer[variable])
                    tensor.copy_(value.permute(3, 2, 0, 1) if value.ndim == 4 else value)
    return encoder.eval().double(), weights


@pytest.fixture(scope="module")
def encoder() -> KerasV1:
    torch.manual_seed(0)
    return KerasV1().eval()


def forward(images: Array, weights: Weights) -> Array:
    """Keras' graph, (B, H, W, 3) in 0-255 -> (B, 2048), in float64."""

    def padded(x: Array, by: int) -> Array:
        return np.pad(x, ((0, 0), (by, by), (by, by), (0, 0)))

    def windows(x: Array, size: int, stride: int) -> list[list[Array]]:
        """For each position in the window, the pixels of the maps at that position."""
        rows = range(0, x.shape[1] - size + 1, stride)
        columns = range(0, x.shape[2] - size + 1, stride)
        return [
            [x[:, [y + i for y in rows]][:, :, [z + j for z in columns]] for j in range(size)]
            for i in range(size)
        ]

    def convolved(x: Array, layer: str, stride: int = 1) -> Array:
        kernel, bias = (weights[f"{layer}_conv"][name].astype(float) for name in ("kernel", "bias"))
        patches = windows(x, len(kernel), stride)
        output = bias + sum(patches[i][j] @ kernel[i, j] for i, j in np.ndindex(kernel.shape[:2]))
        bn = {name: value.astype(float) for name, value in weights[f"{layer}_bn"].items()}
        scaled = (output - bn["moving_mean"]) / np.sqrt(bn["moving_variance"] + 1.001e-5)
        return np.asarray(scaled * bn["gamma"] + bn["beta"])

    def relu(x: Array) -> Array:
        return np.maximum(x, 0)

    x = relu(convolved(padded(images, 3), "conv1", stride=2))
    x = np.max([part for row in windows(padded(x, 1), 3, 2) for part in row], axis=0)
    for stage, (count, _) in STAGES.items():
        for block in range(1, count + 1):
            name = f"conv{stage}_block{block}"
            stride = 2 if block == 1 and stage > 2 else 1
            shortcut = convolved(x, f"{name}_0", stride) if block == 1 else x
            y = relu(convolved(x, f"{name}_1", stride))
            y = relu(convolved(padded(y, 1), f"{name}_2"))
            x = relu(convolved(y, f"{name}_3") + shortcut)
    return np.asarray(x.mean(axis=(1, 2)))


@pytest.mark.parametrize("size", [(32, 32), (45, 58)])
def test_output_equals_keras_network(
    trained: tuple[KerasV1, Weights], size: tuple[int, int]
) -> None:
    encoder, weights = trained
    pixels = np.random.default_rng(1).integers(0, 256, (2, *size, 3)).astype(float)
    with torch.no_grad():
        actual = encoder(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
    expected = forward(pixels, weights)
    assert expected.std() > 0.1
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-9, atol=1e-9)


def test_accepts_images_of_any_number_of_channels(encoder: KerasV1) -> None:
    image = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(encoder(image), encoder.network(image * 255), rtol=0, atol=0)
    assert check_encoder("keras-v1", (3, 64, 64)) == check_encoder("keras-v1", (1, 32, 32)) == 2048
    with pytest.raises(ConfigError, match="does not accept vectors of 50"):
        check_encoder("keras-v1", (50,))


def test_has_keras_layers_and_parameters(encoder: KerasV1) -> None:
    layers = {
        name.replace(".", "_"): part
        for name, part in encoder.network.named_modules()
        if isinstance(part, nn.Conv2d | nn.BatchNorm2d)
    }
    shapes = resnet50()
    assert layers.keys() == shapes.keys()
    assert (
        sum(v.size for layer in random_weights(shapes).values() for v in layer.values())
        == 23_587_712
    )
    state = encoder.state_dict().items()
    counted = sum(v.numel() for k, v in state if not k.endswith("num_batches_tracked"))
    assert counted == 23_587_712
    norms = [part for part in layers.values() if isinstance(part, nn.BatchNorm2d)]
    assert {(part.eps, part.momentum) for part in norms} == {(1.001e-5, 0.01)}


def test_analyses_find_its_blocks_and_stages(encoder: KerasV1) -> None:
    assert len(convolutions(encoder)) == 53
    assert len(blocks(encoder)) == 16
    assert stage_convolutions(encoder) == [
        "network.conv1_conv",
        *(f"network.conv{stage}.block1.1_conv" for stage in STAGES),
    ]


def test_kernels_are_glorot_uniform_and_biases_zero(encoder: KerasV1) -> None:
    for part in encoder.modules():
        if not isinstance(part, nn.Conv2d):
            continue
        kernel, bias = part.weight.detach(), part.bias
        assert bias is not None
        assert not bias.any()
        outputs, inputs, height, width = kernel.shape
        bound = sqrt(6 / (height * width * (inputs + outputs)))
        assert 0.99 * bound < kernel.abs().max() <= bound * (1 + 1e-6)
        error = sqrt(0.8 / kernel.numel())  # relative error of the variance of uniform draws
        assert kernel.var().item() == pytest.approx(bound**2 / 3, rel=5 * error)
    for part in encoder.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert (part.weight == 1).all()
            assert not part.bias.any()


def test_starts_from_the_weights_of_a_run(supervision: RunConfig) -> None:
    supervise(changed(supervision, encoder="keras-v1", epochs=1))
    path = supervision.out / "weights.safetensors"
    spec = f"keras-v1:weights={path}"
    loaded, saved = build_encoder(spec).state_dict(), load_file(path)
    path.unlink()
    for key, value in loaded.items():
        assert torch.equal(value, saved[f"encoder.{key}"])
    assert without_weights(spec) == "keras-v1"
    assert isinstance(build_encoder(without_weights(spec)), KerasV1)
    with pytest.raises(ConfigError, match="no weights file"):
        build_encoder(spec)
