"""Keras' ResNet-50 against a plain float64 forward pass, and Keras' weights in every layout."""

import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from math import prod, sqrt
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from morefromless.analysis.layers import blocks, convolutions, first_of_stages
from morefromless.branches import build_encoder, check_encoder, untrained
from morefromless.encoders._keras_weights import load_h5
from morefromless.encoders.keras_v1 import KerasV1
from morefromless.errors import ConfigError
from morefromless.options import SuperviseOptions
from morefromless.training.supervised import supervise

pytestmark = pytest.mark.xdist_group("keras")  # share a fixture that takes long

Array = npt.NDArray[Any]
Weights = dict[str, dict[str, Array]]
"""Of each layer, in Keras' order, each variable as Keras lays it out."""

STAGES = {2: (3, 64), 3: (4, 128), 4: (6, 256), 5: (3, 512)}


def drawn(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> Weights:
    """Random weights: of a convolution where the shape (h, w, in, out) has four lengths."""
    rng = np.random.default_rng(seed)
    made: Weights = {}
    for layer, shape in shapes.items():
        if len(shape) == 4:
            kernel = rng.standard_normal(shape, np.float32) * np.float32(sqrt(2 / prod(shape[:3])))
            made[layer] = {"kernel": kernel, "bias": rng.normal(0, 0.1, shape[-1])}
        else:
            made[layer] = {
                "gamma": rng.uniform(0.5, 1.5, shape),
                "beta": rng.normal(0, 0.3, shape),
                "moving_mean": rng.normal(0, 0.3, shape),
                "moving_variance": rng.uniform(0.5, 1.5, shape),
            }
    return {
        layer: {name: value.astype(np.float32) for name, value in variables.items()}
        for layer, variables in made.items()
    }


def resnet50() -> dict[str, tuple[int, ...]]:
    """Keras' layers with weights, in its order."""
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
    return dict(one for pair in pairs for one in pair)


def write(path: Path, weights: Weights, *, whole: bool = False, inside: str | None = None) -> Path:
    """As Keras 2 writes `save_weights`, or `save` (`whole`); `inside` is the network's own name
    where it is a layer of another model."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        groups = {inside: list(weights)} if inside else {layer: [layer] for layer in weights}
        root.attrs["layer_names"] = [name.encode() for name in ("input_1", *groups, "predictions")]
        root.create_group("input_1").attrs["weight_names"] = []
        head = {"predictions": {"kernel": np.ones((8, 2), np.float32)}}
        for group, layers in (*groups.items(), ("predictions", ["predictions"])):
            values = {
                f"{layer}/{variable}:0": value
                for layer in layers
                for variable, value in (weights | head)[layer].items()
            }
            names = sorted(values, key=lambda name: "moving_" in name)  # trained ones first
            made = root.create_group(group)
            made.attrs["weight_names"] = [name.encode() for name in names]
            for name in names:
                made[name] = values[name]
                if whole and "moving_" not in name:
                    file[f"optimizer_weights/Adam/m/{name}"] = np.zeros_like(values[name])
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[KerasV1, Weights]:
    """A float64 encoder with the weights of a file of Keras', and these weights."""
    weights = drawn(resnet50())
    path = write(tmp_path_factory.mktemp("keras") / "encoder.h5", weights)
    encoder = build_encoder(f"keras-v1:weights={path}").eval().double()
    path.unlink()
    assert isinstance(encoder, KerasV1)
    return encoder, weights


@pytest.fixture(scope="module")
def encoder() -> KerasV1:
    torch.manual_seed(0)
    return KerasV1().eval()


def forward(images: Array, weights: Weights) -> Array:
    """Keras' graph, (B, H, W, 3) in 0-255 -> (B, 2048), in float64."""

    def padded(x: Array, by: int) -> Array:
        return np.pad(x, ((0, 0), (by, by), (by, by), (0, 0)))

    def windows(x: Array, size: int, stride: int) -> list[list[Array]]:
        """For each place in the window, the pixels of the maps that lie there."""
        rows = range(0, x.shape[1] - size + 1, stride)
        columns = range(0, x.shape[2] - size + 1, stride)
        return [
            [x[:, [y + i for y in rows]][:, :, [z + j for z in columns]] for j in range(size)]
            for i in range(size)
        ]

    def convolved(x: Array, layer: str, stride: int = 1) -> Array:
        kernel, bias = (weights[f"{layer}_conv"][name].astype(float) for name in ("kernel", "bias"))
        seen = windows(x, len(kernel), stride)
        made = bias + sum(seen[i][j] @ kernel[i, j] for i, j in np.ndindex(kernel.shape[:2]))
        bn = {name: value.astype(float) for name, value in weights[f"{layer}_bn"].items()}
        scaled = (made - bn["moving_mean"]) / np.sqrt(bn["moving_variance"] + 1.001e-5)
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
def test_is_keras_network_on_pixels_of_0_to_255(
    trained: tuple[KerasV1, Weights], size: tuple[int, int]
) -> None:
    encoder, weights = trained
    pixels = np.random.default_rng(1).integers(0, 256, (2, *size, 3)).astype(float)
    with torch.no_grad():
        made = encoder(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
    expected = forward(pixels, weights)
    assert expected.std() > 0.1
    np.testing.assert_allclose(made.numpy(), expected, rtol=1e-9, atol=1e-9)


def test_takes_images_in_0_to_1_of_any_number_of_channels(encoder: KerasV1) -> None:
    image = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(encoder(image), encoder.network(image * 255), rtol=0, atol=0)
    assert check_encoder("keras-v1", (3, 64, 64)) == check_encoder("keras-v1", (1, 32, 32)) == 2048
    with pytest.raises(ConfigError, match="does not take vectors of 50"):
        check_encoder("keras-v1", (50,))


def test_has_keras_layers_and_parameters(encoder: KerasV1) -> None:
    layers = {
        name.replace(".", "_"): part
        for name, part in encoder.network.named_modules()
        if isinstance(part, nn.Conv2d | nn.BatchNorm2d)
    }
    shapes = resnet50()
    assert layers.keys() == shapes.keys()
    assert sum(v.size for layer in drawn(shapes).values() for v in layer.values()) == 23_587_712
    held = encoder.state_dict().items()
    counted = sum(v.numel() for k, v in held if not k.endswith("num_batches_tracked"))
    assert counted == 23_587_712
    norms = [part for part in layers.values() if isinstance(part, nn.BatchNorm2d)]
    assert {(part.eps, part.momentum) for part in norms} == {(1.001e-5, 0.01)}


def test_analyses_find_its_blocks_and_stages(encoder: KerasV1) -> None:
    assert len(convolutions(encoder)) == 53
    assert len(blocks(encoder)) == 16
    assert first_of_stages(encoder) == [
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
        out, into, height, width = kernel.shape
        bound = sqrt(6 / (height * width * (into + out)))
        assert 0.99 * bound < kernel.abs().max() <= bound * (1 + 1e-6)
        error = sqrt(0.8 / kernel.numel())  # of the variance of so many uniform draws
        assert kernel.var().item() == pytest.approx(bound**2 / 3, rel=5 * error)
    for part in encoder.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert (part.weight == 1).all()
            assert not part.bias.any()


SMALL = {
    "conv1_conv": (3, 2, 1, 4),
    "conv1_bn": (4,),
    "conv2_block1_1_conv": (1, 1, 4, 5),
    "conv2_block1_1_bn": (5,),
}


def small() -> nn.Sequential:
    """A network whose layers have Keras' names and SMALL's shapes."""
    block = nn.ModuleDict({"1_conv": nn.Conv2d(4, 5, 1), "1_bn": nn.BatchNorm2d(5)})
    parts = OrderedDict(
        conv1_conv=nn.Conv2d(1, 4, (3, 2)),
        conv1_bn=nn.BatchNorm2d(4),
        conv2=nn.Sequential(OrderedDict(block1=block)),
    )
    return nn.Sequential(parts)


@pytest.mark.parametrize("inside", [None, "resnet50"], ids=["own", "nested"])
@pytest.mark.parametrize("whole", [False, True], ids=["save_weights", "save"])
def test_every_layout_of_keras_is_read(tmp_path: Path, whole: bool, inside: str | None) -> None:
    weights, network = drawn(SMALL, seed=2), small()
    load_h5(network, write(tmp_path / "x.h5", weights, whole=whole, inside=inside), "small")
    held = {key: value.numpy() for key, value in network.state_dict().items()}
    for module in ("conv1_", "conv2.block1.1_"):
        layer = module.replace(".", "_")
        conv, bn = weights[f"{layer}conv"], weights[f"{layer}bn"]
        expected = {
            "conv.weight": np.einsum("hwio->oihw", conv["kernel"]),
            "conv.bias": conv["bias"],
            "bn.weight": bn["gamma"],
            "bn.bias": bn["beta"],
            "bn.running_mean": bn["moving_mean"],
            "bn.running_var": bn["moving_variance"],
        }
        for key, value in expected.items():
            np.testing.assert_array_equal(held[module + key], value)


def test_names_without_colon_are_read_too(tmp_path: Path) -> None:
    weights, network = drawn(SMALL), small()
    with h5py.File(tmp_path / "x.h5", "w") as file:  # as Keras 3 writes model.save("x.h5")
        for layer, variables in weights.items():
            for variable, value in variables.items():
                file[f"model_weights/{layer}/{layer}/{variable}"] = value
    load_h5(network, tmp_path / "x.h5", "small")
    np.testing.assert_array_equal(
        network.state_dict()["conv1_bn.bias"].numpy(), weights["conv1_bn"]["beta"]
    )


def _without_a_layer(weights: Weights) -> None:
    del weights["conv2_block1_1_bn"]


def _without_a_variable(weights: Weights) -> None:
    del weights["conv2_block1_1_bn"]["moving_variance"]


def _other_shape(weights: Weights) -> None:
    weights["conv2_block1_1_bn"]["gamma"] = np.ones(6, np.float32)


def _other_layout(weights: Weights) -> None:
    weights["conv1_conv"]["kernel"] = weights["conv1_conv"]["kernel"].transpose(3, 2, 0, 1)


def _words(weights: Weights) -> None:
    weights["conv1_conv"]["bias"] = np.array([b"a", b"b", b"c", b"d"])


@pytest.mark.parametrize(
    ("spoil", "first"),
    [
        (_without_a_layer, "conv2_block1_1_bn"),
        (_without_a_variable, "conv2_block1_1_bn"),
        (_other_shape, "conv2_block1_1_bn"),
        (_other_layout, "conv1_conv"),
        (_words, "conv1_conv"),
    ],
)
def test_layers_that_are_missing_or_do_not_fit_are_named(
    tmp_path: Path, spoil: Callable[[Weights], None], first: str
) -> None:
    weights, network = drawn(SMALL), small()
    spoil(weights)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ConfigError, match=rf"'small': 1 of 4 layers .*\(first: {first}\); give"):
        load_h5(network, write(tmp_path / "x.h5", weights), "small")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_two_encoders_in_one_file_are_not_mistaken(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", drawn(SMALL, seed=1), inside="resnet50")
    with h5py.File(path, "a") as file:
        file.copy("resnet50", "other")
    with pytest.raises(ConfigError, match=r"holds conv1_bn/beta 2 times \(other/.*resnet50/"):
        load_h5(small(), path, "small")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("x.h5", None, r"no weights file .*x\.h5 for 'keras-v1'"),
        ("x.safetensors", None, "no weights file"),
        ("x.h5", b"no HDF5", "cannot be read as HDF5"),
        ("x.pt", b"no tensors", "cannot be read as weights"),
        ("checkpoint.index", b"", "takes TensorFlow to read.*save_weights"),
        ("checkpoint.data-00000-of-00001", b"", "takes TensorFlow to read"),
        ("model.keras", b"", "takes TensorFlow to read"),
    ],
)
def test_bad_files_are_refused(
    tmp_path: Path, file: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        build_encoder(f"keras-v1:weights={tmp_path / file}")


def test_checkpoints_of_tensorflow_are_known_by_their_prefix_and_folder(tmp_path: Path) -> None:
    (tmp_path / "encoder_weights_0.index").touch()
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    for name in ("encoder_weights_0", "saved"):
        with pytest.raises(ConfigError, match="takes TensorFlow to read"):
            build_encoder(f"keras-v1:weights={tmp_path / name}")


def test_hdf5_of_something_else_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros((7, 7, 3, 64), np.float32)  # Keras 3's own names
    with pytest.raises(ConfigError, match=r"106 of 106 layers .*\(first: conv1_conv\)"):
        build_encoder(f"keras-v1:weights={tmp_path / 'x.h5'}")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["model_weights"] = 1.0
    with pytest.raises(ConfigError, match="cannot be read as HDF5"):
        build_encoder(f"keras-v1:weights={tmp_path / 'x.h5'}")


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.h5", drawn(SMALL))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match=r"x\.h5 takes h5py.*pip install .*\[expression\]"):
        build_encoder(f"keras-v1:weights={path}")


def test_begins_from_the_weights_of_a_run(supervision: SuperviseOptions) -> None:
    supervise(replace(supervision, encoder="keras-v1", epochs=1))
    path = supervision.out / "weights.safetensors"
    spec = f"keras-v1:weights={path}"
    begun, saved = build_encoder(spec).state_dict(), load_file(path)
    path.unlink()
    for key, value in begun.items():
        assert torch.equal(value, saved[f"encoder.{key}"])
    assert untrained(spec) == "keras-v1"
    assert isinstance(build_encoder(untrained(spec)), KerasV1)
    with pytest.raises(ConfigError, match="no weights file"):
        build_encoder(spec)
