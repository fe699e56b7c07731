"""Specifications, and that an open set grows by a file alone."""

import sys
import types
from collections.abc import Sequence
from pathlib import Path

import pytest
from torch import Tensor

from morefromless import modalities, objectives, views
from morefromless.errors import ConfigError
from morefromless.modalities import Modality
from morefromless.modalities.downsample import Downsample
from morefromless.objectives import Loss, Objective
from morefromless.objectives.simclr import SimCLR
from morefromless.specs import build, members, signature
from morefromless.views import Views


def test_members_are_the_modules_of_a_folder() -> None:
    assert set(members(modalities, Modality)) >= {"downsample", "full"}
    assert set(members(views, Views)) == {"authors", "plain", "table-s1"}
    assert set(members(objectives, Objective)) >= {"simclr", "vicreg"}


def test_positional_and_named_values() -> None:
    made = build("downsample:7,interpolation=point", modalities, Modality)
    assert isinstance(made, Downsample)
    assert made.resolution(224) == 7
    simclr = build("simclr:authors,temperature=0.1", objectives, Objective)
    assert isinstance(simclr, SimCLR)
    assert simclr.temperature == 0.1
    assert simclr.convention == "authors"


def test_a_class_from_outside_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(Objective):
        """Pulls the first two branches together, `weight` times."""

        def __init__(self, weight: float = 1.0) -> None:
            super().__init__()
            self.weight = weight

        def forward(self, embeddings: Sequence[Tensor]) -> Loss:
            distance = (embeddings[0] - embeddings[1]).square().mean()
            return Loss(self.weight * distance, {"distance": distance})

    module = types.ModuleType("outside.mine")
    module.Mine = Mine  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "outside", types.ModuleType("outside"))
    monkeypatch.setitem(sys.modules, "outside.mine", module)
    made = build("outside.mine:Mine:2.5", objectives, Objective)
    assert isinstance(made, Mine)
    assert made.weight == 2.5


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("downsampel:7", "did you mean downsample"),
        ("nothing-like-it", "known: "),
        ("downsample", "lacks size; usage: downsample:size"),
        ("downsample:seven", "'seven' is not a value for 'size'"),
        ("downsample:7,interpolation=cubic", "'cubic' is not a value for 'interpolation'"),
        ("downsample:7,colour=red", "no parameter 'colour'"),
        ("downsample:interpolation=point,7", "out of place"),
        ("no.such.module:Class", "cannot be imported"),
        ("pathlib.nothing:Path", "cannot be imported"),
        ("os.path:join", "is not a Modality"),
    ],
)
def test_mistakes_are_answered_in_one_sentence(spec: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        build(spec, modalities, Modality)
    assert "\n" not in str(caught.value)


def test_signature_says_how_a_member_is_typed() -> None:
    assert signature(Downsample).startswith("downsample:size,interpolation=area")


def test_a_new_file_is_a_new_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "half_size.py").write_text(
        "from morefromless.modalities.downsample import Downsample\n"
        "class HalfSize(Downsample):\n"
        "    def __init__(self) -> None:\n"
        "        super().__init__(16)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import more  # type: ignore[import-not-found]

    assert set(members(more, Modality)) == {"half-size"}
    assert build("half-size", more, Modality).resolution(32) == 16
