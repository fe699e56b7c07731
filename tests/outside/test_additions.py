"""Members of open sets from outside the package are used as the package's own."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from morefromless import objectives
from morefromless.branch_plans import Plan
from morefromless.branches import Branches
from morefromless.data.store import Store
from morefromless.encoders import check_encoder
from morefromless.errors import ConfigError, DataError
from morefromless.modalities.vector import Vector
from morefromless.objectives import Loss, Objective
from morefromless.pairs import Pair
from morefromless.specs import build, normalise
from morefromless.tasks import build_task
from morefromless.training.checks import check_objective
from tests.outside.additions import Bright, Distance, Grey, Mirror, Pooled

HERE = "tests.outside.additions"


def test_training_step_uses_all_additions(tissue: Store) -> None:
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
def test_colour_views_of_one_channel_are_refused(tissue: Store, views: str) -> None:
    modalities = {"primary": f"{HERE}:Grey", "privileged": "full"}
    with pytest.raises(ConfigError, match=f"--views {views} .* has 1 channels"):
        Pair(modalities, views, 16).check(tissue)


@pytest.mark.parametrize("views", ["table-s1:saturation=0,hue=0", "authors:jitter=0", "plain"])
@pytest.mark.parametrize("channels", [1, 2, 7])
def test_other_views_accept_any_number_of_channels(views: str, channels: int) -> None:
    from morefromless.pairs import build_views

    patches = torch.rand(5, channels, 16, 16)
    drawn = build_views(views).augment(patches, torch.Generator().manual_seed(0))
    assert drawn.shape == patches.shape
    assert drawn.min() >= 0
    assert drawn.max() <= 1


@pytest.mark.parametrize("name", ["Bytes", "Halved"])
def test_modality_output_is_checked_before_training(tissue: Store, name: str) -> None:
    pair = Pair({"primary": f"{HERE}:{name}", "privileged": "full"}, "plain", 16)
    with pytest.raises(ConfigError, match=rf"{name} renders .* must give \(1, 16, 16\) in \[0, 1"):
        pair.check(tissue)


@pytest.mark.parametrize("name", ["Bare", "Rows"])
def test_objective_output_is_checked(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}.compute must return a Loss whose total"):
        build(f"{HERE}:{name}", objectives, Objective)([torch.rand(2, 3)] * 2)


def test_class_with_a_base_in_its_package_keeps_its_name() -> None:
    # It was once shortened to `vicreg`, so the package's VICReg was trained instead.
    spec = "tests.outside.lab.vicreg:Mine"
    assert normalise(spec, objectives, Objective) == spec
    assert build(spec, objectives, Objective).spec == spec


def test_untyped_parameters_have_the_types_of_their_defaults() -> None:
    spec = "tests.outside.lab.vicreg:Mine"
    objective = build(
        f"{spec}:weight=2,rows=0.5,fast=false,name=3,other=1/2", objectives, Objective
    )
    assert objective.values == (2.0, 0.5, False, "3", (1, 2))
    with pytest.raises(ConfigError, match="'x' is not a valid value for 'weight'"):
        build(f"{spec}:weight=x", objectives, Objective)
    assert build("tests.outside.lab.vicreg:Listed:1/0.5", objectives, Objective).weights == [1, 0.5]


def test_class_without_a_required_attribute_is_refused() -> None:
    with pytest.raises(ConfigError, match="NoWidth' has no `width`, which its class must set"):
        check_encoder("tests.outside.lab.vicreg:NoWidth", (3, 8, 8))


@pytest.mark.parametrize("spec", ["losses:Cosine", "losses.Cosine", "my.losses:Cosine,spread=1"])
def test_error_of_a_mistyped_class_shows_the_syntax(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"your own class as package\.module:Class"):
        build(spec, objectives, Objective)


class Shaken(Mirror):
    """A preset with one of several faults."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def augment(self, patches: Tensor, generator: Any, geometry: Any = None) -> Tensor:  # noqa: ARG002
        if self.fault == "in place":
            return patches.mul_(0.5)
        outputs = {
            "bytes": 255 * patches,
            "half": patches[..., ::2],
            "chance": torch.rand_like(patches),
        }
        return outputs[self.fault]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("bytes", r"not in \[0, 1\]"),
        ("half", "have the shape"),
        ("in place", "modify in place their input"),
        ("chance", "do not depend on the generator"),
    ],
)
def test_preset_output_is_checked_before_training(tissue: Store, fault: str, message: str) -> None:
    pair = Pair({"primary": "full"}, f"{__name__}:Shaken:{fault}", 16)
    with pytest.raises(ConfigError, match=message):
        pair.check(tissue)


class ByChance(Grey):
    """An invalid modality: its output is random, as only views may be."""

    def render(self, patches: Tensor, size: int) -> Tensor:
        return torch.rand(len(patches), 1, size, size)


class Ratios(Vector):
    """An invalid modality: it divides by zero."""

    def render(self, patches: Tensor, size: int) -> Tensor:  # noqa: ARG002
        return patches / 0


class Logarithms(Vector):
    """A valid modality of counts, which are never negative."""

    rendered = 0

    def render(self, patches: Tensor, size: int) -> Tensor:  # noqa: ARG002
        Logarithms.rendered += 1
        return patches.log1p()


def test_random_modalities_and_vectors_are_checked(tissue: Store) -> None:
    with pytest.raises(ConfigError, match="renders the same patch in two ways"):
        Pair({"primary": f"{__name__}:ByChance"}, "plain", 16).check(tissue)
    values = np.zeros((len(tissue.table), 4), np.float32)
    arrays, present = {**tissue.arrays, "expression": values}, {**tissue.present}
    store = Store(tissue.path, tissue.meta, tissue.table, arrays, present)
    Pair({"primary": "vector:4"}, "plain", 16).check(store)
    Pair({"primary": f"{__name__}:Logarithms:4"}, "plain", 16).check(store)
    Pair({"primary": f"{__name__}:Logarithms:4"}, "plain", 16).check(store)
    # Two renderings of one check; later checks of a study's runs are skipped.
    assert Logarithms.rendered == 2
    with pytest.raises(ConfigError, match=r"must give \(4,\) of finite numbers"):
        Pair({"primary": f"{__name__}:Ratios:4"}, "plain", 16).check(store)


class Queue(Distance):
    """An objective with a queue of embeddings of one width."""

    def __init__(self, width: int, detached: bool = False) -> None:
        super().__init__()
        self.detached = detached
        self.register_buffer("queue", torch.zeros(8, width))

    def compute(self, embeddings: list[Tensor]) -> Loss:
        first = embeddings[0].detach() if self.detached else embeddings[0]
        first -= first.mean()
        loss = (first @ self.get_buffer("queue").clone().T).mean()
        self.get_buffer("queue")[:2] = embeddings[1][:2].detach()
        return Loss(loss, {})


def test_objective_is_checked_at_its_own_width() -> None:
    check_objective(Queue(96), 2, 96, 2)  # it was once checked at width 64
    with pytest.raises(ConfigError, match="Queue does not depend on the embeddings"):
        check_objective(Queue(96, detached=True), 2, 96, 2)


@pytest.mark.parametrize("given", [None, np.zeros(3), (("a", "a"), [0, 1])])
def test_task_must_return_classes_and_labels(tissue: Store, given: Any) -> None:
    class Wrong(Bright):
        def labels(self, store: Store) -> Any:  # noqa: ARG002
            return given

    with pytest.raises(
        DataError, match="labels of task Wrong must be a pair: distinct names of classes"
    ):
        tissue.select(task=Wrong())


class Several(Pooled):
    """An invalid encoder: it returns more than a representation."""

    def forward(self, images: Tensor) -> Any:
        return super().forward(images), images


def test_encoder_must_return_one_tensor() -> None:
    with pytest.raises(ConfigError, match="returns a tuple; its forward must return one tensor"):
        check_encoder(f"{__name__}:Several", (3, 8, 8))
