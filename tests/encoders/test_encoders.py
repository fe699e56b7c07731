"""Encoder specifications: their canonical form, and invalid ones."""

import pytest
import torch

from morefromless.encoders import Encoder, check_encoder, normalise_encoder, without_weights
from morefromless.errors import ConfigError


class Declared(Encoder):
    """An encoder from outside the package with its own weights."""

    pretrained = True
    width = 3

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))


def test_only_pretrained_encoders_can_be_frozen() -> None:
    with pytest.raises(
        ConfigError, match="'test_resnet' has random weights, which are never trained"
    ):
        check_encoder("test_resnet", (3, 32, 32), frozen=True)
    assert check_encoder(f"{__name__}:Declared", (3, 32, 32), frozen=True) == 3


@pytest.mark.parametrize(
    ("spec", "canonical", "architecture"),
    [
        ("timm:resnet50", "resnet50", "resnet50"),
        ("resnet50:pretrained=false", "resnet50", "resnet50"),
        (
            "resnet50.a1_in1k:pretrained=true",
            "resnet50.a1_in1k:pretrained=true",
            "resnet50.a1_in1k",
        ),
        (
            "test_vit:weights='a,b:c.pt',init_values=1e-5",
            "test_vit:weights='a,b:c.pt',init_values=1e-05",
            "test_vit:init_values=1e-05",
        ),
        ("mlp:hidden=512,layers=2", "mlp:512", "mlp:512"),
        ("hf-hub:o/n:pretrained=true", "hf-hub:o/n:pretrained=true", "hf-hub:o/n"),
    ],
)
def test_encoder_specs_have_one_canonical_form(
    spec: str, canonical: str, architecture: str
) -> None:
    assert normalise_encoder(spec) == canonical
    assert normalise_encoder(canonical) == canonical
    assert without_weights(spec) == without_weights(canonical) == architecture


def test_unsupported_inputs_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"does not accept vectors of 40 .*use mlp for them"):
        check_encoder("test_resnet", (40,))
    with pytest.raises(ConfigError, match="'mlp' does not accept images of 32 x 32 px"):
        check_encoder("mlp", (3, 32, 32))
