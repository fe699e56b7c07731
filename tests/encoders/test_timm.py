"""Encoders by their timm names, and local weights."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from morefromless.branches import build_encoder, check_encoder
from morefromless.encoders.timm import Timm
from morefromless.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "width"), [("test_resnet", 96), ("test_vit", 64), ("mobilenetv3_small_050", 1024)]
)
def test_width_is_what_comes_out(name: str, width: int) -> None:
    assert check_encoder(name, (3, 64, 64)) == width
    encoder = build_encoder(name).eval()
    assert encoder(torch.rand(3, 3, 64, 64)).shape == (3, encoder.width)


def test_a_bare_name_is_a_timm_name() -> None:
    bare, full = build_encoder("test_resnet"), build_encoder("timm:test_resnet")
    assert isinstance(bare, Timm)
    assert isinstance(full, Timm)
    assert bare.name == full.name


def test_images_are_normalised_inside() -> None:
    encoder = Timm("test_resnet").eval()
    image = torch.rand(2, 3, 32, 32)
    config = encoder.network.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(encoder(image), encoder.network((image - mean) / std))


def test_unknown_names_are_answered_with_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"no model named 'resnet51'; did you mean .*resnet50"):
        build_encoder("resnet51")


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_local_weights_with_a_classifier_are_taken(tmp_path: Path, suffix: str) -> None:
    donor = timm.create_model("test_resnet", num_classes=5)
    path = tmp_path / f"donor.{suffix}"
    if suffix == "safetensors":
        save_file(donor.state_dict(), path)
    else:
        torch.save({"state_dict": donor.state_dict()}, path)
    encoder = build_encoder(f"test_resnet:weights={path}")
    assert isinstance(encoder, Timm)
    for name, value in encoder.network.state_dict().items():
        assert torch.equal(value, donor.state_dict()[name])


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), path)
    with pytest.raises(ConfigError, match="is not a checkpoint of 'test_resnet'"):
        build_encoder(f"test_resnet:weights={path}")


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (torch.zeros(3), "cannot be read as weights"),
        ({"state_dict": [1, 2]}, "cannot be read as weights"),
        ({"conv1.weight": 3}, "is not a checkpoint of 'test_resnet'"),
    ],
)
def test_a_pytorch_file_of_something_else_is_refused(
    tmp_path: Path, held: object, message: str
) -> None:
    torch.save(held, tmp_path / "x.pth")
    with pytest.raises(ConfigError, match=message):
        build_encoder(f"test_resnet:weights={tmp_path / 'x.pth'}")


class _Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("__import__('pathlib').Path('sprung').touch()",))


def test_a_file_that_is_a_program_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": _Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ConfigError, match="cannot be read as weights"):
        build_encoder(f"test_resnet:weights={tmp_path / 'trap.pth'}")
    assert not (tmp_path / "sprung").exists()


def test_missing_weights_and_contradictions(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no weights file"):
        build_encoder(f"test_resnet:weights={tmp_path / 'none.safetensors'}")
    with pytest.raises(ConfigError, match="give one"):
        build_encoder("test_resnet:pretrained=true,weights=x")


def test_a_size_that_does_not_fit_is_found_early() -> None:
    with pytest.raises(ConfigError, match="does not take images of 3 x 3 px"):
        check_encoder("vit_tiny_patch16_224", (3, 3, 3))
