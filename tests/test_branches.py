"""Branches: sharing is what is written, sizes follow the encoder."""

import pytest
import torch
from torch import nn

from morefromless.branches import Branches, Expander
from morefromless.errors import ConfigError


def _parameters(module: nn.Module) -> set[int]:
    return {id(p) for p in module.parameters()}


def test_shared_branches_are_one_set_of_weights() -> None:
    branches = Branches(("primary", "privileged"), "shared", "test_resnet", 32)
    assert branches["primary"] is branches["privileged"]
    assert all(name.startswith("own.shared.") for name, _ in branches.named_parameters())


def test_independent_branches_have_nothing_in_common() -> None:
    branches = Branches(("primary", "privileged"), "independent", "test_resnet", 32)
    mine, yours = _parameters(branches["primary"]), _parameters(branches["privileged"])
    assert not mine & yours
    first, second = (next(branches[n].parameters()) for n in ("primary", "privileged"))
    assert not torch.equal(first, second)  # nor do they begin as copies


def test_each_modality_makes_a_pass_of_its_own() -> None:
    torch.manual_seed(0)
    branches = Branches(("primary", "privileged"), "shared", "test_resnet", 32)
    dark, bright = torch.rand(8, 3, 32, 32) * 0.1, torch.rand(8, 3, 32, 32)
    together = branches({"primary": dark, "privileged": bright})
    _, alone = branches["primary"](dark)
    torch.testing.assert_close(together["primary"][1], alone)  # BatchNorm did not mix them


def test_the_expander_is_the_papers() -> None:
    kinds = [type(layer).__name__ for layer in Expander(96, 8192)]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    widths = [m.out_features for m in Expander(96, 8192) if isinstance(m, nn.Linear)]
    assert widths == [8192, 8192, 8192]


def test_sizes_follow_the_encoder() -> None:
    branches = Branches(("a", "b"), "independent", "test_vit", 16)
    images = torch.rand(4, 3, 32, 32)
    representation, embedding = branches({"a": images, "b": images})["a"]
    assert representation.shape == (4, branches["a"].encoder.width)
    assert embedding.shape == (4, 16)


def test_names_must_differ() -> None:
    with pytest.raises(ConfigError, match="two or more different names"):
        Branches(("primary", "primary"), "shared", "test_resnet", 16)


def test_a_name_can_be_lent_anothers_weights() -> None:
    """TriDeNT: two views of the primary through one branch, the privileged through its own."""
    names = ("primary", "twin", "privileged")
    branches = Branches(names, "independent", "test_resnet", 32, lent={"twin": "primary"})
    assert branches["twin"] is branches["primary"]
    assert branches["privileged"] is not branches["primary"]
    assert {name.split(".")[1] for name, _ in branches.named_parameters()} == {
        "primary", "privileged"
    }  # fmt: skip
    made = branches({name: torch.rand(4, 3, 32, 32) for name in names})
    assert tuple(made) == names
