"""Specifications, and open sets that are extended by adding a file."""

import copy
import pickle
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from morefromless import encoders, modalities, nuclei_formats, objectives, sources, views
from morefromless.encoders import Encoder
from morefromless.errors import ConfigError
from morefromless.modalities import Modality
from morefromless.modalities.downsample import Downsample
from morefromless.nuclei_formats import NucleiFormat
from morefromless.objectives import Loss, Objective
from morefromless.objectives.simclr import SimCLR
from morefromless.objectives.vicreg import VICReg
from morefromless.sources import Source
from morefromless.specs import build, members, normalise, refuse_outside, signature
from morefromless.views import Views


def test_members_are_the_modules_of_a_package() -> None:
    assert set(members(modalities, Modality)) >= {"downsample", "full"}
    assert set(members(views, Views)) >= {"authors", "plain", "table-s1"}
    assert set(members(objectives, Objective)) >= {"simclr", "vicreg"}


def test_positional_and_named_values() -> None:
    modality = build("downsample:7,interpolation=point", modalities, Modality)
    assert isinstance(modality, Downsample)
    assert modality.resolution(224) == 7
    simclr = build("simclr:authors,temperature=0.1", objectives, Objective)
    assert isinstance(simclr, SimCLR)
    assert simclr.temperature == 0.1
    assert simclr.convention == "authors"


def test_class_from_outside_the_package_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(Objective):
        """Pulls the first two branches together, `weight` times."""

        def __init__(self, weight: float = 1.0) -> None:
            super().__init__()
            self.weight = weight

        def compute(self, embeddings: list[Tensor]) -> Loss:
            distance = (embeddings[0] - embeddings[1]).square().mean()
            return Loss(self.weight * distance, {"distance": distance})

    module = types.ModuleType("outside.mine")
    module.Mine = Mine  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "outside", types.ModuleType("outside"))
    monkeypatch.setitem(sys.modules, "outside.mine", module)
    objective = build("outside.mine:Mine:2.5", objectives, Objective)
    assert isinstance(objective, Mine)
    assert objective.weight == 2.5


def test_private_modules_have_no_members() -> None:
    assert not [name for name in members(sources, Source) if name.startswith("-")]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("downsampel:7", "did you mean downsample"),
        ("nothing-like-it", "known: .*, or your own class as package.module:Class"),
        ("downsample", "is missing size; usage: downsample:size"),
        ("downsample:seven", "'seven' is not a valid value for 'size'"),
        ("downsample:7,interpolation=cubic", "'cubic' is not a valid value for 'interpolation'"),
        ("downsample:7,colour=red", "no parameter 'colour'"),
        ("downsample:interpolation=point,7", "misplaced value"),
        ("no.such.module:Class", "cannot be imported"),
        ("pathlib.nothing:Path", "cannot be imported"),
        ("os.path:join", "is not a Modality"),
        ("downsample:7,size=7", "gives 'size' twice"),
        ("downsample:7,array=he,array=ihc", "gives 'array' twice"),
        ("downsample:1e5", "not a valid value for 'size'"),
        (f"downsample:{10**30}", "a whole number below"),
        (f"downsample:-{2**31}", "a whole number below"),
        ("", "no modality named ''"),
    ],
)
def test_invalid_specs_are_one_line_errors(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build(spec, modalities, Modality)
    assert "\n" not in str(caught.value)


def test_error_of_an_unknown_name_states_its_kind() -> None:
    with pytest.raises(ConfigError, match="There is no views preset named 'nothing'"):
        build("nothing", views, Views)
    with pytest.raises(ConfigError, match="There is no nuclei format named 'nothing'"):
        build("nothing", nuclei_formats, NucleiFormat)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e30", "1e999", str(10**30)])
def test_numbers_are_finite_and_have_bounds(number: str) -> None:
    with pytest.raises(ConfigError, match="a finite number up to"):
        build(f"vicreg:variance={number}", objectives, Objective)


def test_literal_parameters_may_be_none() -> None:
    spatial = "spatial:folder,test=a"
    assert build(f"{spatial},image=hires", sources, Source).image == "hires"  # type: ignore[attr-defined]
    assert build(f"{spatial},image=none", sources, Source).image is None  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="fullres or hires or lowres"):
        build(f"{spatial},image=large", sources, Source)


def test_constructor_errors_are_one_line() -> None:
    for layers in (2**31 - 1, 0):
        with pytest.raises(ConfigError, match="is not a network; hidden must be from 1 to"):
            build(f"mlp:layers={layers}", encoders, Encoder)
    with pytest.raises(ConfigError, match="'mlp:channels=-1' cannot be built"):
        build("mlp:channels=-1", encoders, Encoder)


def test_signature_shows_the_parameters() -> None:
    assert signature(Downsample).startswith("downsample:size,interpolation=area")


def test_new_file_is_a_new_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(
    ("spec", "canonical"),
    [
        ("downsample:size=7", "downsample:7"),
        ("downsample:7,area", "downsample:7"),
        ("downsample:array=ihc,size=+07", "downsample:7,array=ihc"),
        ("full:he", "full"),
        ("full:array=he,", "full"),
        ("full: ihc ", "full:ihc"),
        ("full:'a,b'", "full:'a,b'"),
        ("nuclei:types=6,palette=one-hot", "nuclei:one-hot"),
    ],
)
def test_aliases_have_one_canonical_form(spec: str, canonical: str) -> None:
    assert normalise(spec, modalities, Modality) == canonical
    assert normalise(canonical, modalities, Modality) == canonical
    assert build(spec, modalities, Modality).spec == canonical


def test_object_has_its_spec() -> None:
    assert Downsample(7).spec == "downsample:7"
    assert replace(Downsample(7), array="ihc").spec == "downsample:7,array=ihc"
    assert copy.deepcopy(SimCLR("authors", temperature=0.25)).spec == "simclr:authors,0.25"
    assert pickle.loads(pickle.dumps(Downsample(9))).spec == "downsample:9"  # noqa: S301


@given(
    size=st.integers(1, 10**6),
    interpolation=st.sampled_from(["area", "antialiased", "point"]),
    array=st.text().filter(lambda text: not {"'", '"'} <= set(text)),
    order=st.permutations(["size", "interpolation", "array"]),
)
def test_spec_of_an_object_builds_an_equal_object(
    size: int, interpolation: Any, array: str, order: list[str]
) -> None:
    built = Downsample(size, interpolation, array)
    assert build(built.spec, modalities, Modality) == built
    quote = '"' if "'" in array else "'"
    values = {"size": size, "interpolation": interpolation, "array": f"{quote}{array}{quote}"}
    spec = f"downsample:{','.join(f'{key}={values[key]}' for key in order)}"
    assert build(spec, modalities, Modality) == built
    assert normalise(spec, modalities, Modality) == built.spec


@given(number=st.floats(allow_nan=False, allow_infinity=False, min_value=1e-300, max_value=1e15))
def test_numbers_keep_every_digit(number: float) -> None:
    spec = VICReg(variance=number).spec
    assert build(spec, objectives, Objective).weights["variance"] == number  # type: ignore[attr-defined]


@given(
    spec=st.text() | st.from_regex(r"(downsample|full|nuclei|a\.b:C)[:,='\"\w.]*", fullmatch=True)
)
def test_any_text_is_normalised_or_refused(spec: str) -> None:
    try:
        text = normalise(spec, modalities, Modality)
    except ConfigError:
        return
    assert normalise(text, modalities, Modality) == text


def test_class_named_in_a_file_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "away.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="give --trust"):
        refuse_outside({"primary": "far.away:Thing:3"}, "run.json")
    assert "far" not in sys.modules
    with pytest.raises(ConfigError, match=r"cannot be imported \(imported\)"):
        build("far.away:Thing:3", modalities, Modality)
    refuse_outside({"primary": "downsample:7"}, "run.json")


class Open(Modality):
    """A modality that accepts any further parameters."""

    array = "he"

    def __init__(self, scale: tuple[float, ...] = (1.0,), **further: Any) -> None:
        self.scale, self.further = scale, further

    def render(self, patches: Tensor, size: int) -> Tensor:  # noqa: ARG002
        return patches


def test_lists_of_numbers_and_untyped_parameters_are_parsed() -> None:
    spec = f"{__name__}:Open:scale=1/2.5,flag=true,side=3,rate=1e-5,name=a/b,nothing=none"
    built = build(spec, modalities, Modality)
    assert isinstance(built, Open)
    assert built.scale == (1, 2.5)
    assert built.further == {"flag": True, "side": 3, "rate": 1e-5, "name": "a/b", "nothing": None}
    assert build(built.spec, modalities, Modality).further == built.further  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"up to 1e15, several joined by /"):
        build(f"{__name__}:Open:scale=wide", modalities, Modality)
