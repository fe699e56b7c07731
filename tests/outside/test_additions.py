"""Members of open sets from outside the package are used as the package's own."""

import numpy as np
import pytest
import torch

from morefromless import objectives
from morefromless.branch_plans import Plan
from morefromless.branches import Branches
from morefromless.data.store import Store
from morefromless.encoders import check_encoder
from morefromless.errors import ConfigError
from morefromless.objectives import Objective
from morefromless.pairs import Pair
from morefromless.specs import build, normalise
from morefromless.tasks import build_task

HERE = "tests.outside.additions"


def test_a_step_is_trained_with_all_of_them(tissue: Store) -> None:
    store = tissue.select(task=build_task(f"{HERE}:Bright"))
    assert store.classes == ("dark", "bright")
    pair = Pair({"primary": f"{HERE}:Grey", "privileged": "full"}, f"{HERE}:Mirror", 16)
    pair.check(store)
    images = pair.render({"he": torch.from_numpy(np.asarray(store.array("he")[:8]))})
    views = pair.augment(images, seed=0, step=0)
    assert views["primary"].shape == (8, 1, 16, 16)
    assert pair.modalities["primary"].to_rgb(images["primary"]).shape == (8, 3, 16, 16)

    torch.manual_seed(0)
    plans = [
        Plan(name, "", name, f"{HERE}:Pooled:width=6", pair.modalities[name].channels)
        for name in pair.modalities
    ]
    branches = Branches(plans, 8)
    objective = build(f"{HERE}:Distance:0.5", objectives, Objective)
    optimiser = torch.optim.SGD(branches.parameters(), 0.01)
    before = [p.clone() for p in branches.parameters()]
    loss = objective([z for _, z in branches(views).values()])
    loss.total.backward()
    optimiser.step()
    assert loss.total == 0.5 * loss.terms["distance"]
    assert any(not torch.equal(p, q) for p, q in zip(before, branches.parameters(), strict=True))
    with pytest.raises(ConfigError, match="Distance compares 2 branches, not 3"):
        objective([torch.rand(2, 3)] * 3)


@pytest.mark.parametrize("views", ["table-s1", "authors"])
def test_colours_of_one_channel_are_refused_before_training(tissue: Store, views: str) -> None:
    modalities = {"primary": f"{HERE}:Grey", "privileged": "full"}
    with pytest.raises(ConfigError, match=f"--views {views} .* has 1 channels"):
        Pair(modalities, views, 16).check(tissue)


@pytest.mark.parametrize("views", ["table-s1:saturation=0,hue=0", "authors:jitter=0", "plain"])
@pytest.mark.parametrize("channels", [1, 2, 7])
def test_other_steps_hold_for_any_number_of_channels(views: str, channels: int) -> None:
    from morefromless.pairs import build_views

    patches = torch.rand(5, channels, 16, 16)
    drawn = build_views(views).augment(patches, torch.Generator().manual_seed(0))
    assert drawn.shape == patches.shape
    assert drawn.min() >= 0
    assert drawn.max() <= 1


@pytest.mark.parametrize("name", ["Bytes", "Halved"])
def test_what_a_modality_renders_is_tried_before_training(tissue: Store, name: str) -> None:
    pair = Pair({"primary": f"{HERE}:{name}", "privileged": "full"}, "plain", 16)
    with pytest.raises(ConfigError, match=rf"{name} renders .* must give \(1, 16, 16\) in \[0, 1"):
        pair.check(tissue)


@pytest.mark.parametrize("name", ["Bare", "Rows"])
def test_what_an_objective_gives_is_checked(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}.compute must give a Loss whose total"):
        build(f"{HERE}:{name}", objectives, Objective)([torch.rand(2, 3)] * 2)


def test_a_class_whose_base_is_in_its_own_package_keeps_its_name() -> None:
    # It was `vicreg` for short, so that the package's VICReg was trained in its place.
    spec = "tests.outside.lab.vicreg:Mine"
    assert normalise(spec, objectives, Objective) == spec
    assert build(spec, objectives, Objective).spec == spec


def test_parameters_without_types_have_those_of_their_defaults() -> None:
    spec = "tests.outside.lab.vicreg:Mine"
    mine = build(f"{spec}:weight=2,rows=0.5,fast=false,name=3,other=1/2", objectives, Objective)
    assert mine.values == (2.0, 0.5, False, "3", (1, 2))
    with pytest.raises(ConfigError, match="'x' is not a value for 'weight'"):
        build(f"{spec}:weight=x", objectives, Objective)
    assert build("tests.outside.lab.vicreg:Listed:1/0.5", objectives, Objective).weights == [1, 0.5]


def test_a_class_lacks_what_its_contract_asks_for() -> None:
    with pytest.raises(ConfigError, match="NoWidth' lacks `width`, which its class must set"):
        check_encoder("tests.outside.lab.vicreg:NoWidth", (3, 8, 8))


@pytest.mark.parametrize("typed", ["losses:Cosine", "losses.Cosine", "my.losses:Cosine,spread=1"])
def test_a_class_that_is_typed_otherwise_is_told_how(typed: str) -> None:
    with pytest.raises(ConfigError, match=r"a class of yours as package\.module:Class"):
        build(typed, objectives, Objective)
