"""Branches are built as the options state, and contradictions are refused first."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from morefromless.branch_plans import plan_branches
from morefromless.branches import Branches, Expander
from morefromless.config import RunConfig
from morefromless.encoders import build_encoder, check_encoder
from morefromless.errors import ConfigError
from tests.conftest import run_config


def _options(**options: Any) -> RunConfig:
    return run_config(Path(), Path(), **options)


def _branches(width: int = 32, **options: Any) -> Branches:
    return Branches(plan_branches(_options(**options)), width)


def _parameters(module: nn.Module) -> set[int]:
    return {id(p) for p in module.parameters()}


def test_shared_branches_are_one_set_of_weights() -> None:
    branches = _branches(sharing="shared")
    assert branches["primary"] is branches["privileged"]
    assert all(name.startswith("by_key.shared.") for name, _ in branches.named_parameters())


def test_independent_branches_share_no_weights() -> None:
    branches = _branches()
    primary, privileged = _parameters(branches["primary"]), _parameters(branches["privileged"])
    assert not primary & privileged
    first, second = (next(branches[n].parameters()) for n in ("primary", "privileged"))
    assert not torch.equal(first, second)  # and they have different initial values


def test_each_modality_has_its_own_forward_pass() -> None:
    torch.manual_seed(0)
    branches = _branches(sharing="shared")
    dark, bright = torch.rand(8, 3, 32, 32) * 0.1, torch.rand(8, 3, 32, 32)
    outputs = branches({"primary": dark, "privileged": bright})
    _, separate = branches["primary"](dark)
    torch.testing.assert_close(outputs["primary"][1], separate)  # BatchNorm did not mix them


def test_expander_matches_the_paper() -> None:
    kinds = [type(layer).__name__ for layer in Expander(96, 8192)]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    widths = [m.out_features for m in Expander(96, 8192) if isinstance(m, nn.Linear)]
    assert widths == [8192, 8192, 8192]


def test_sizes_follow_the_encoder() -> None:
    branches = _branches(16, encoder="test_vit")
    images = torch.rand(4, 3, 32, 32)
    representation, embedding = branches({"primary": images, "privileged": images})["primary"]
    assert representation.shape == (4, branches["primary"].encoder.width)
    assert embedding.shape == (4, 16)


def test_names_must_differ() -> None:
    with pytest.raises(ConfigError, match="two or more different names"):
        Branches(plan_branches(_options())[:1] * 2, 16)


def test_trident_views_of_the_primary_share_one_branch() -> None:
    """TriDeNT: two views of the primary use one branch, the privileged view another one."""
    names = ("primary", "twin", "privileged")
    branches = _branches(kind="trident")
    assert branches["twin"] is branches["primary"]
    assert branches["privileged"] is not branches["primary"]
    assert {name.split(".")[1] for name, _ in branches.named_parameters()} == {
        "primary",
        "privileged",
    }
    outputs = branches({name: torch.rand(4, 3, 32, 32) for name in names})
    assert tuple(outputs) == names


def test_each_branch_can_have_its_own_architecture() -> None:
    branches = _branches(encoder="test_vit", privileged_encoder="test_resnet")
    images = torch.rand(4, 3, 32, 32)
    outputs = branches({"primary": images, "privileged": images})
    assert {n: tuple(y.shape) for n, (y, _) in outputs.items()} == {
        "primary": (4, 64),
        "privileged": (4, 96),
    }
    assert {tuple(z.shape) for _, z in outputs.values()} == {(4, 32)}


def test_trident_twin_has_the_architecture_of_the_primary() -> None:
    keys = {
        plan.name: (plan.key, plan.encoder)
        for plan in plan_branches(
            _options(kind="trident", encoder="test_vit", privileged_encoder="test_resnet")
        )
    }
    assert keys == {
        "primary": ("primary", "test_vit"),
        "twin": ("primary", "test_vit"),
        "privileged": ("privileged", "test_resnet"),
    }


def test_vectors_and_images_have_separate_encoders() -> None:
    branches = _branches(privileged="vector:40", privileged_encoder="mlp:hidden=24")
    outputs = branches({"primary": torch.rand(4, 3, 32, 32), "privileged": torch.rand(4, 40)})
    assert outputs["privileged"][0].shape == (4, 24)
    assert outputs["privileged"][1].shape == outputs["primary"][1].shape == (4, 32)
    assert check_encoder("mlp:hidden=24", (40,)) == 24


def test_branch_without_expander_returns_its_representation() -> None:
    branches = _branches(96, no_expander=("privileged",))
    images = torch.rand(4, 3, 32, 32)
    outputs = branches({"primary": images, "privileged": images})
    assert outputs["privileged"][0] is outputs["privileged"][1]
    assert outputs["primary"][1].shape == (4, 96)


def test_frozen_branch_takes_representations_and_is_not_trained(tmp_path: Path) -> None:
    save_file(build_encoder("test_resnet").network.state_dict(), tmp_path / "w.safetensors")
    branches = _branches(
        privileged_encoder=f"test_resnet:weights={tmp_path / 'w.safetensors'},mean=0.5,std=0.5",
        freeze=("privileged",),
    )
    branches.train()
    assert not branches["privileged"].encoder.training
    assert branches["primary"].encoder.training
    outputs = branches({"primary": torch.rand(4, 3, 32, 32), "privileged": torch.rand(4, 96)})
    sum(z.sum() for _, z in outputs.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is None for p in branches["privileged"].encoder.parameters())
    assert all(p.grad is not None for p in branches["privileged"].expander.parameters())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"sharing": "shared", "privileged_encoder": "test_vit"},
            "cannot share weights, as they have two architectures .test_resnet and test_vit.",
        ),
        (
            {"sharing": "shared", "primary": "nuclei:one-hot,types=6"},
            "have different numbers of channels .6 and 3.",
        ),
        ({"sharing": "shared", "freeze": ("privileged",)}, "not both frozen or both trained"),
        (
            {"sharing": "shared", "no_expander": ("privileged",)},
            "do not both have, or both lack, an expander",
        ),
        (
            {
                "encoder": "test_resnet:pretrained=true",
                "freeze": ("primary", "privileged"),
                "no_expander": ("primary", "privileged"),
            },
            "nothing is trained",
        ),
    ],
)
def test_contradictions_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_branches(_options(**given))


def test_different_widths_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="width 96, but the others have width 32; give --width 96"
    ):
        _branches(no_expander=("privileged",))
