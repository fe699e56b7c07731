"""Options in files: round trips, and an error of one sentence for anything invalid."""

import dataclasses
import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morefromless.cli import COMMANDS, run
from morefromless.config import (
    Arm,
    ExportConfig,
    ReproduceConfig,
    RunConfig,
    StudyConfig,
    Train,
    from_flat,
    to_flat,
    training,
)
from morefromless.errors import ConfigError
from morefromless.identity import run_key, with_run_folder
from morefromless.reproduction.record import command
from morefromless.runs import Run
from tests.conftest import changed

CONFIGS = [command.config for command in COMMANDS.values()]
REQUIRED = {
    "experiments": ["table1"],
    "inputs": ["folder"],
    "run_a": "a",
    "run_b": "b",
    "source": "synthetic",
    "paths": ["slide.svs", "store"],
}
RUN = RunConfig(store=Path("store"), out=Path("run"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


def _complete(kind: type) -> dict[str, Any]:
    """A value for each option that has no default."""
    required = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is field.default_factory is dataclasses.MISSING
    ]
    return {name: REQUIRED.get(name, "folder") for name in required}


@pytest.mark.parametrize("kind", CONFIGS, ids=lambda kind: kind.__name__)
def test_options_of_every_command_survive_a_file(kind: type) -> None:
    config = from_flat(kind, _complete(kind))
    flat = to_flat(config)
    assert from_flat(kind, flat) == config
    assert all(isinstance(name, str) for name in flat)


def test_parts_of_options_survive_a_file() -> None:
    config = changed(
        RUN, kind="trident", lr=3e-4, freeze=["privileged"], clip_each=1.0, missing="pairs", seed=7
    )
    assert (config.arm.kind, config.train.lr, config.pairing.freeze) == (
        "trident",
        3e-4,
        ("privileged",),
    )
    assert from_flat(RunConfig, to_flat(config)) == config


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"colour": "red"}, "colour"),
        ({1: "red"}, "1"),
        ({"epochs": "many"}, "epochs"),
        ({"epochs": 1.5}, "epochs"),
        ({"epochs": 10**5000}, "epochs"),
        ({"encoder": 10**400}, "encoder"),
        ({"kind": "asymetric"}, "kind"),
        ({"freeze": "both"}, "freeze"),
        ({"store": ["a"]}, "store"),
        ({"lr": None}, "lr"),
    ],
)
def test_invalid_options_are_one_line_errors(values: dict[Any, Any], option: str) -> None:
    with pytest.raises(ConfigError, match=rf"^options\.yaml .*'{option}'") as caught:
        from_flat(RunConfig, {"store": "s", "out": "o", **values}, "options.yaml")
    assert "\n" not in str(caught.value)


def test_missing_required_option_is_named() -> None:
    with pytest.raises(ConfigError, match="'out'"):
        from_flat(RunConfig, {"store": "s"})


@given(document=JSON)
@settings(max_examples=200)
def test_document_without_required_options_is_refused(document: Any) -> None:
    with pytest.raises(ConfigError):  # every such document has no store
        from_flat(RunConfig, document)


@given(name=st.sampled_from(sorted(to_flat(RUN))), value=JSON)
@settings(max_examples=300)
def test_any_value_is_accepted_or_refused(name: str, value: Any) -> None:
    try:
        config = from_flat(RunConfig, {**to_flat(RUN), name: value})
    except ConfigError:
        return
    assert from_flat(RunConfig, to_flat(config)) == config


def test_strings_and_numbers_are_converted() -> None:
    assert from_flat(Train, {"lr": "1e-4"}).lr == 1e-4
    assert from_flat(Train, {"precision": 16}).precision == "16"


def test_single_value_is_a_list_of_one() -> None:
    values = {"store": "s", "primary": "nuclei", "sharing": "shared", "tasks": "tissue"}
    lists = {name: [value] for name, value in values.items() if name != "store"}
    assert from_flat(StudyConfig, values) == from_flat(StudyConfig, {**values, **lists})


@pytest.mark.parametrize("kind", CONFIGS, ids=lambda kind: kind.__name__)
def test_every_number_has_bounds_and_is_finite(kind: type) -> None:
    valid = to_flat(from_flat(kind, _complete(kind)))
    for name, hint in options_of(kind):
        types = get_args(hint) or (hint,)
        if bool in types or not {int, float} & {*types}:
            continue
        for value in (-1, -(10**400), 2**31 * 10**9, 10**30, math.nan, math.inf, -math.inf):
            invalid = [value] if get_origin(hint) is tuple else value
            with pytest.raises(ConfigError, match=name.replace("_", ".")):
                from_flat(kind, {**valid, name: invalid})


def options_of(kind: type) -> Iterator[tuple[str, Any]]:
    """Name and type of each option, including nested ones."""
    for name, hint in get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            yield from options_of(hint)  # type: ignore[arg-type]
        else:
            yield name, hint


@pytest.mark.parametrize("value", [2**31, -1])
def test_seeds_out_of_range_are_refused(value: int) -> None:
    with pytest.raises(ConfigError):
        replace(RUN, seed=value)
    with pytest.raises(ConfigError):
        StudyConfig(store=Path("s"), seeds=value)


@pytest.mark.parametrize(
    "options",
    [
        {"primary": ["full:he", "full:he"]},
        {"sharing": ["shared", "shared"]},
        {"objectives": ["vicreg", "vicreg"]},
        {"tasks": ["tissue", "tissue"]},
        {"tasks": []},
        {"primary": ["full"]},
        {"primary": ["downsample:4", "downsample:7"], "both_ways": True},
        {"epochs": 1, "warmup": 1},
        {"clip_each": 1, "precision": "16"},
    ],
)
def test_contradictory_studies_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        changed(StudyConfig(store=Path("s")), **options)


@pytest.mark.parametrize(
    "options",
    [{"batch": 10, "devices": 3}, {"batch": 10, "accumulate": 3}, {"batch": 2, "accumulate": 2}],
)
def test_indivisible_batches_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        changed(RUN, **options)


NAMES: dict[str, dict[str, Any]] = {
    "asymmetric-independent-downsample-7-s0-3c557e": {},
    "symmetric-shared-downsample-7-s0-50a478": {
        "kind": "symmetric",
        "sharing": "shared",
        "lr": 1e-3,
    },
    "trident-independent-downsample-7-s0-a1f00d": {
        "kind": "trident",
        "missing": "pairs",
        "objective": "simclr:authors",
    },
    "supervised-full-s3-5db841": {
        "kind": "supervised",
        "primary": "full",
        "seed": 3,
        "epochs": 10,
    },
    "asymmetric-independent-downsample-7-s0-42f0e0": {
        "privileged": "vector:12",
        "privileged_encoder": "mlp",
        "freeze": ["privileged"],
    },
}


def _name(**options: Any) -> str:
    return with_run_folder(changed(RUN, **options), Path("runs"), "hash").out.name


def test_runs_keep_their_names() -> None:
    """If these names change, existing runs of all users are no longer found."""
    assert {name: _name(**options) for name, options in NAMES.items()} == {
        name: name for name in NAMES
    }


def test_later_option_renames_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Later(Train):
        momentum: float = 0.9

    monkeypatch.setattr(training, "DEFAULTS", {**training.DEFAULTS, "momentum": 0.9})
    later = replace(RUN, train=Later())
    assert run_key(later, "hash") == run_key(RUN, "hash")
    assert run_key(replace(RUN, train=Later(momentum=0.5)), "hash") != run_key(RUN, "hash")


def test_run_name_depends_only_on_what_changes_the_weights() -> None:
    assert _name(device="cpu", workers=3, threads=2, checkpoint_every=7, task="cell") == _name()
    assert _name(kind="symmetric", privileged="nuclei") == _name(kind="symmetric")
    supervised = {"kind": "supervised"}
    assert _name(**supervised, width=32, objective="simclr", pairs=0.5) == _name(**supervised)
    assert _name(**supervised, task="cell") != _name(**supervised)
    assert _name(missing="drop") == _name()
    assert len({_name(**{name: value}) for name, value in {"lr": 1e-3, "epochs": 7}.items()}) == 2


@pytest.mark.parametrize(
    "spec",
    ["resnet18:weights={}", "resnet18:weights='{}'", "mine.module:Encoder:weights='{}'"],
)
def test_run_name_depends_on_the_content_of_weights(tmp_path: Path, spec: str) -> None:
    weights = tmp_path / ("a,b.pt" if "'" in spec else "weights.safetensors")
    names = []
    for content in (b"one", b"two"):
        weights.write_bytes(content)
        names.append(_name(privileged_encoder=spec.format(weights)))
    assert names[0] != names[1]


def test_options_of_a_run_are_read_from_its_folder(tmp_path: Path) -> None:
    run = Run.begin(replace(RUN, out=tmp_path / "first"), "hash")
    run.path.rename(tmp_path / "second")
    moved = Run(tmp_path / "second").config
    assert moved == replace(RUN, out=tmp_path / "second", store=Path("store").absolute())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"first_seed": 2**31 - 2}, "--first-seed is 2147483646; give 0 or more and at most"),
        ({"missing": "pairs"}, "--missing pairs is for TriDeNT; give --trident too"),
    ],
)
def test_option_that_no_run_uses_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        from_flat(StudyConfig, {"store": "store", "seeds": 3, **values})


def test_preprocessing_of_a_graph_needs_a_graph() -> None:
    with pytest.raises(ConfigError, match="give --onnx or --torch-export too"):
        ExportConfig(encoder="run", out=Path("out"), preprocessing=True)


@pytest.mark.parametrize("standardise", [True, False])
def test_recorded_command_can_be_run(standardise: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ReproduceConfig(
        experiments=("table1",), sides=(14, 7), seeds=2, standardise=standardise
    )
    calls: list[Any] = []
    replaced = replace(COMMANDS["reproduce"], function=calls.append)
    monkeypatch.setitem(COMMANDS, "reproduce", replaced)
    assert run(shlex.split(command(config))[1:]) == 0
    assert calls == [config]


def test_another_run_is_refused_with_the_changed_option(tmp_path: Path) -> None:
    first = Run.begin(replace(RUN, out=tmp_path), "hash")
    changed_config = changed(first.config, lr=1e-3, workers=3)
    with pytest.raises(ConfigError, match=r"another run \(--lr was 0\.0001, is 0\.001\)"):
        Run.begin(changed_config, "hash")


def test_arms_name_their_branches() -> None:
    assert Arm(kind="trident", primary="a", privileged="b").modalities == {
        "primary": "a",
        "twin": "a",
        "privileged": "b",
    }
    assert list(Arm(kind="symmetric").modalities) == ["primary", "twin"]
    assert list(Arm(kind="supervised").modalities) == ["primary"]
