"""GradCAM against the definition by autograd, and against other implementations."""

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from morefromless.analysis.gradcam import gradcam, scaled
from morefromless.analysis.layers import stage_convolutions
from morefromless.errors import ConfigError
from morefromless.evaluation.frozen import Classifier
from morefromless.probes import LinearProbe
from tests.conformance import Case, cases

ALL = cases("gradcam")
PRECISIONS = {"f64": torch.float64, "f32": torch.float32}


class Squeeze(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3))


def network(case: Case, dtype: torch.dtype) -> nn.Module:
    """The reference's small net, with its weights."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for layer in case.params["architecture"]:
        module: nn.Module
        kind = layer["op"]
        if kind == "conv2d":
            module = nn.Conv2d(
                channels, layer["out"], layer["kernel"], layer["stride"], layer["padding"]
            )
            channels = layer["out"]
        elif kind == "batchnorm2d_eval":
            module = nn.BatchNorm2d(channels, eps=layer["eps"])
        elif kind == "maxpool2d":
            module = nn.MaxPool2d(layer["kernel"], layer["stride"])
        else:
            simple: dict[str, Any] = {
                "relu": lambda: nn.ReLU(inplace=True),
                "global_avg_pool": Squeeze,
            }
            module = nn.Linear(channels, layer["out"]) if kind == "linear" else simple[kind]()
        parts[layer["name"]] = module
    model = nn.Sequential(parts).to(dtype).eval()
    weights = {
        k: torch.from_numpy(np.asarray(v)).to(dtype) for k, v in case.inputs.items() if "." in k
    }
    missing = model.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys)
    return model


def images_and_targets(case: Case, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    rest = {k: torch.from_numpy(np.asarray(v)) for k, v in case.inputs.items() if "." not in k}
    images = next(v for v in rest.values() if v.ndim == 4).to(dtype)
    targets = next(v for v in rest.values() if v.ndim == 1).long()
    return images, targets


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", ALL, ids=str)
def test_agrees_with_the_references(case: Case, precision: str) -> None:
    dtype = PRECISIONS[precision]
    net, (images, targets) = network(case, dtype), images_and_targets(case, dtype)
    layers = case.params["target_layers"]
    results = {
        "logit": gradcam(net, images, layers, targets),
        "prob": gradcam(
            nn.Sequential(OrderedDict(net=net, softmax=nn.Softmax(dim=1))),
            images,
            [f"net.{layer}" for layer in layers],
            targets,
        ),
    }
    checked = 0
    for name in case.names():
        parts = name.split(".")
        if len(parts) != 4 or parts[3] == "weights":
            continue  # logits; captum does not return the weights, but the maps depend on them
        maps = results[parts[1]][parts[2] if parts[1] == "logit" else f"net.{parts[2]}"]
        positive = maps.clamp(min=0)
        lowest = positive.amin(dim=(1, 2), keepdim=True)
        minmax = (positive - lowest) / (1e-7 + (positive - lowest).amax(dim=(1, 2), keepdim=True))
        outputs = {
            "cam": maps,
            "relu": positive,
            "norm_max": scaled(maps, maps.shape[-1]),
            "norm_minmax": minmax,
        }
        case.close(outputs[parts[3]].numpy(), name, precision)
        checked += 1
    assert checked >= 3 * len(layers)


def test_default_class_is_the_prediction() -> None:
    """The default class is the prediction; weights and mode stay unchanged."""
    torch.manual_seed(0)
    encoder = timm.create_model("test_resnet", num_classes=0).requires_grad_(False)
    encoder.train()
    width = encoder.num_features
    classifier = Classifier(encoder, LinearProbe(torch.randn(3, width), torch.zeros(3)))
    before = {k: v.clone() for k, v in classifier.state_dict().items()}
    images = torch.rand(4, 3, 64, 64)
    layers = [f"encoder.{name}" for name in stage_convolutions(encoder)]
    maps = gradcam(classifier, images, layers)
    classifier.eval()
    explicit = gradcam(classifier, images, layers, classifier(images).argmax(dim=1))
    assert list(maps) == layers
    for name in layers:
        torch.testing.assert_close(maps[name], explicit[name])
        heat_map = scaled(maps[name], 64)
        assert heat_map.shape == (4, 64, 64)
        assert heat_map.min() >= 0
        assert heat_map.max() <= 1
    assert encoder.get_submodule("act1" if hasattr(encoder, "act1") else "").inplace is True
    for key, value in classifier.state_dict().items():
        assert torch.equal(value, before[key])


def test_map_without_support_for_the_class_is_zero() -> None:
    assert torch.equal(scaled(-torch.rand(2, 3, 3), 3), torch.zeros(2, 3, 3))


def test_invalid_input_is_refused_in_one_sentence() -> None:
    net = timm.create_model("test_vit", num_classes=3)
    images = torch.rand(2, 3, *net.pretrained_cfg["input_size"][1:])
    with pytest.raises(ConfigError, match="has no feature maps"):
        gradcam(net, images, ["blocks.0"])
    with pytest.raises(ConfigError, match=r"no layer 'block.0'; did you mean .*blocks.0"):
        gradcam(net, images, ["block.0"])
