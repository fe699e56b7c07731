"""The encoders of Table S2 at the paper's input size, and pairs of different encoders."""

from pathlib import Path

import pytest
import torch

from morefromless.branch_plans import plan_branches
from morefromless.branches import Branches
from morefromless.encoders import build_encoder
from tests.conftest import run_config

# Parameters without classifier, with moving statistics, as Keras Applications counts them. Keras'
# EfficientNetB0 has 7 more in its input normalisation layer. Keras' ResNet-50 with 23,587,712 is
# another network (keras-v1).
ENCODERS = {
    "resnet50": (2048, 23_561_152),
    "mobilenetv2_100": (1280, 2_257_984),
    "efficientnet_b0": (1280, 4_049_571 - 7),
    "legacy_xception": (2048, 20_861_480),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_accepts_images_of_the_papers_size(name: str) -> None:
    width, parameters = ENCODERS[name]
    encoder = build_encoder(name).eval()
    with torch.no_grad():
        output = encoder(torch.rand(2, 3, 224, 224))
    assert output.shape == (2, width) == (2, encoder.width)
    state = encoder.network.state_dict()  # type: ignore[union-attr]
    counted = [v.numel() for k, v in state.items() if not k.endswith("num_batches_tracked")]
    assert sum(counted) == parameters


@pytest.mark.parametrize(
    ("encoder", "privileged_encoder", "privileged", "widths"),
    [
        ("vit_small_patch16_224", "resnet50", "full", (384, 2048)),
        ("convnext_atto", "mlp", "vector:50", (320, 256)),
    ],
)
def test_branches_may_have_two_architectures(
    encoder: str, privileged_encoder: str, privileged: str, widths: tuple[int, int]
) -> None:
    config = run_config(
        Path(),
        Path(),
        encoder=encoder,
        privileged_encoder=privileged_encoder,
        privileged=privileged,
        size=64,
        width=32,
    )
    branches = Branches(plan_branches(config), 32)
    privileged_input = torch.rand(4, 50) if privileged != "full" else torch.rand(4, 3, 64, 64)
    outputs = branches({"primary": torch.rand(4, 3, 64, 64), "privileged": privileged_input})
    assert tuple(outputs[name][0].shape[1] for name in outputs) == widths
    assert {tuple(embedding.shape) for _, embedding in outputs.values()} == {(4, 32)}
