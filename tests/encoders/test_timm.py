"""timm encoders and local weights."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from morefromless.encoders import ENCODER_KEY, build_encoder, check_encoder
from morefromless.encoders.timm import Timm
from morefromless.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "width"), [("test_resnet", 96), ("test_vit", 64), ("mobilenetv3_small_050", 1024)]
)
def test_width_is_the_output_width(name: str, width: int) -> None:
    assert check_encoder(name, (3, 64, 64)) == width
    encoder = build_encoder(name).eval()
    assert encoder(torch.rand(3, 3, 64, 64)).shape == (3, encoder.width)


def test_name_without_prefix_is_a_timm_name() -> None:
    short, full = build_encoder("test_resnet"), build_encoder("timm:test_resnet")
    assert isinstance(short, Timm)
    assert isinstance(full, Timm)
    assert short.name == full.name


def test_encoder_normalises_its_images() -> None:
    encoder = Timm("test_resnet").eval()
    image = torch.rand(2, 3, 32, 32)
    config = encoder.network.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(encoder(image), encoder.network((image - mean) / std))


def test_unknown_names_get_suggestions() -> None:
    with pytest.raises(ConfigError, match=r"no model named 'resnet51'; did you mean .*resnet50"):
        build_encoder("resnet51")


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_local_weights_with_a_classifier_are_loaded(tmp_path: Path, suffix: str) -> None:
    donor = timm.create_model("test_resnet", num_classes=5)
    path = tmp_path / f"donor.{suffix}"
    if suffix == "safetensors":
        save_file(donor.state_dict(), path)
    else:
        torch.save({"state_dict": donor.state_dict()}, path)
    encoder = build_encoder(f"test_resnet:weights={path},mean=0.5,std=0.5")
    assert isinstance(encoder, Timm)
    assert encoder.pretrained
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
def test_pytorch_file_of_other_content_is_refused(
    tmp_path: Path, held: object, message: str
) -> None:
    torch.save(held, tmp_path / "x.pth")
    with pytest.raises(ConfigError, match=message):
        build_encoder(f"test_resnet:weights={tmp_path / 'x.pth'}")


class _Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("__import__('pathlib').Path('sprung').touch()",))


def test_code_in_a_weights_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": _Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ConfigError, match="cannot be read as weights"):
        build_encoder(f"test_resnet:weights={tmp_path / 'trap.pth'}")
    assert not (tmp_path / "sprung").exists()


def test_missing_or_contradictory_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no weights file"):
        build_encoder(f"test_resnet:weights={tmp_path / 'none.safetensors'}")
    with pytest.raises(ConfigError, match="give one"):
        build_encoder("test_resnet:pretrained=true,weights=x")


def test_unsupported_input_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not accept images of 3 x 3 px"):
        check_encoder("vit_tiny_patch16_224", (3, 3, 3))


@pytest.fixture(scope="module")
def scaled_vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a transformer with LayerScale and a classifier."""
    path = tmp_path_factory.mktemp("vit") / "a,b.safetensors"
    save_file(timm.create_model("test_vit", init_values=0.3).state_dict(), path)
    return path


def test_layer_scale_is_not_dropped(scaled_vit: Path) -> None:
    with pytest.raises(ConfigError, match=r"the encoder has no blocks.0.ls1.gamma.*init_values"):
        build_encoder(f"test_vit:weights='{scaled_vit}',mean=0.5,std=0.5")
    encoder = build_encoder(f"test_vit:weights='{scaled_vit}',init_values=1e-5,mean=0.5,std=0.5")
    assert encoder.network.blocks[0].ls1.gamma.unique().tolist() == pytest.approx([0.3])


def test_mismatched_weights_are_named(tmp_path: Path) -> None:
    state = timm.create_model("test_resnet").state_dict()
    del state["layer1.0.conv1.weight"]
    state |= {"conv1.0.weight": torch.zeros(16, 3, 5, 5), "further.weight": torch.zeros(2)}
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(ConfigError) as caught:
        build_encoder(f"test_resnet:weights={tmp_path / 'x.safetensors'},mean=0.5,std=0.5")
    for words in (
        "the file has no layer1.0.conv1.weight;",
        "the encoder has no further.weight;",
        "conv1.0.weight is 16 x 3 x 5 x 5, not 16 x 3 x 3 x 3",
    ):
        assert words in str(caught.value)


def test_arguments_of_timm_are_checked(tmp_path: Path) -> None:
    encoder = build_encoder("test_vit:img_size=96/96,class_token=false,global_pool=avg")
    assert encoder.network.patch_embed.img_size == (96, 96)
    assert encoder.network.cls_token is None
    with pytest.raises(ConfigError, match="cannot create 'test_resnet' with no_such_thing"):
        build_encoder("test_resnet:no_such_thing=3")
    with pytest.raises(ConfigError, match="does not accept checkpoint_path"):
        build_encoder(f"test_resnet:checkpoint_path={tmp_path}")


def test_error_of_the_hub_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Please check your connection.")

    monkeypatch.setattr("timm.create_model", refuse)
    with pytest.raises(ConfigError, match=r"check your connection; without network access"):
        build_encoder("test_resnet")


def test_tagged_names_and_hub_names_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(build_encoder("test_resnet.r160_in1k:output_stride=16"), Timm)
    arguments = {}

    def create(name: str, **options: object) -> torch.nn.Module:
        arguments.update(options, name=name)
        return create_model("test_vit", num_classes=0)

    create_model = timm.create_model
    monkeypatch.setattr(timm, "create_model", create)
    encoder = build_encoder("hf-hub:owner/net:pretrained=true,init_values=1e-5")
    assert arguments == {
        "name": "hf-hub:owner/net",
        "pretrained": True,
        "num_classes": 0,
        "in_chans": 3,
        "init_values": 1e-5,
    }
    assert encoder.pretrained
    assert encoder.spec == "timm:hf-hub:owner/net,pretrained=true,init_values=1e-05"


def test_normalisation_is_read_from_options_and_files(tmp_path: Path) -> None:
    donor = timm.create_model("test_resnet")
    plain, with_stats = tmp_path / "plain.safetensors", tmp_path / "said.safetensors"
    save_file(donor.state_dict(), plain)
    with pytest.raises(ConfigError, match=r"mean=0.5/0.5/0.5,std=0.5/0.5/0.5"):
        build_encoder(f"test_resnet:weights={plain}")
    encoder = build_encoder(f"test_resnet:weights={plain},mean=0.7/0.6/0.5,std=0.2")
    assert encoder.mean.flatten().tolist() == pytest.approx([0.7, 0.6, 0.5])
    assert encoder.std.flatten().tolist() == pytest.approx([0.2] * 3)
    image = torch.rand(2, 3, 32, 32)
    expected = encoder.eval().network((image - encoder.mean) / encoder.std)
    torch.testing.assert_close(encoder(image), expected)

    save_file(donor.state_dict(), with_stats, {"mean": "[0.1, 0.2, 0.3]", "std": "[0.4, 0.4, 0.4]"})
    assert build_encoder(f"test_resnet:weights={with_stats}").mean.flatten()[1] == pytest.approx(
        0.2
    )
    run = tmp_path / "run.safetensors"  # a run saves mean and std with its weights
    prefix = "branches.by_key.primary.encoder."
    save_file({prefix + k: v.clone() for k, v in encoder.state_dict().items()}, run)
    reloaded = build_encoder(f"test_resnet:weights={run}")
    assert torch.equal(reloaded.mean, encoder.mean)
    assert torch.equal(reloaded(image), reloaded.network((image - encoder.mean) / encoder.std))
    (tmp_path / "config.json").write_text(
        '{"pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1]}}'
    )
    assert build_encoder(f"test_resnet:weights={plain}").std.flatten().tolist() == [1, 1, 1]


def test_input_size_is_the_training_size(tmp_path: Path) -> None:
    """At timm's default size, an encoder that was trained at another size performs worse."""
    state = timm.create_model("test_resnet").state_dict()
    normalised = {"mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]"}
    run, plain = tmp_path / "run.safetensors", tmp_path / "plain.safetensors"
    branch = {"preprocessing": {"size": 48}}
    metadata = normalised | {ENCODER_KEY: json.dumps({"branches": {"primary": branch}})}
    save_file(state, run, metadata)
    assert build_encoder(f"test_resnet:weights={run}").input_size == 48
    save_file(state, plain, normalised)
    assert build_encoder(f"test_resnet:weights={plain}").input_size == 160
    config = {"pretrained_cfg": {"input_size": [3, 96, 96]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert build_encoder(f"test_resnet:weights={plain}").input_size == 96
    assert build_encoder(f"test_resnet:weights={run}").input_size == 48


@pytest.mark.parametrize("bad", ["mean=0.5/0.5", "std=0", "std=nan", "mean=inf", "mean=grey"])
def test_invalid_normalisation_is_refused(bad: str) -> None:
    with pytest.raises(ConfigError, match=bad.partition("=")[0]):
        build_encoder(f"test_resnet:{bad}")
