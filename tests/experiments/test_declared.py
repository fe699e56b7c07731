"""Declared experiments: the published numbers, and the runs of each experiment."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from morefromless import experiments
from morefromless.config import ReproduceConfig, StudyConfig
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.experiments import (
    SCALES,
    Experiment,
    Setting,
    experiment_names,
    published,
)
from morefromless.ingest import ingest
from morefromless.reproduction.plan import Plan
from morefromless.sources.synthetic import Synthetic
from morefromless.specs import members
from tests.real import real


@pytest.fixture
def options(tissue: Store, tmp_path: Path) -> ReproduceConfig:
    return ReproduceConfig(
        experiments=("all",),
        scale="smoke",
        store=tissue.path,
        out=tmp_path,
        batch=16,  # a fifth of the pairs fills one batch
    )


COUNTS = {"table1": 18, "table2": 24, "table-s2": 24, "table-s3": 16}
"""Number of values in each of the paper's tables."""


@pytest.mark.parametrize("name", COUNTS)
def test_published_numbers_match_the_paper(name: str) -> None:
    text = real("../paper/more-from-less.txt").read_text()
    numbers = [n for n in published() if n.experiment == name]
    place = "Table " + name.removeprefix("table").removeprefix("-").upper()
    numbers = [n for n in numbers if n.place == place]
    assert len(numbers) == COUNTS[name]
    assert all(f"{n.value:.4f}" in text[text.index(f"\n{place}: ") :] for n in numbers)


def test_published_numbers_are_unique_accuracies() -> None:
    keys = [(n.experiment, n.row, n.column) for n in published()]
    assert len(keys) == len(set(keys))
    assert {n.experiment for n in published()} <= set(experiment_names())
    assert all(0 < n.value < 1 and n.place for n in published())


def test_tables_of_the_paper_come_before_figures() -> None:
    places = [n.split("-")[0].rstrip("0123456789") for n in experiment_names()]
    ranks = [{"table": 0, "fig": 1}.get(place, 2) for place in places]
    assert ranks == sorted(ranks)
    assert set(experiment_names()) == set(members(experiments, Experiment))


class Elsewhere(Experiment):
    """An experiment from outside the package."""

    title = "Elsewhere"
    about = "What it asks."

    def studies(self, setting: Setting) -> dict[str, StudyConfig]:
        return {"one": setting.study("elsewhere", primary=(setting.sparsest,))}


def test_experiment_from_outside_is_planned(options: ReproduceConfig) -> None:
    name = f"{__name__}:Elsewhere"
    [planned] = Plan.of(replace(options, experiments=(name,))).experiments
    assert planned.experiment.title == "Elsewhere"
    assert {run.arm.kind for run in planned.runs} == {"asymmetric", "symmetric", "supervised"}


def test_runs_are_shared_between_tables(options: ReproduceConfig) -> None:
    plan = Plan.of(options)
    paths = [run.out for run in plan.runs]
    assert len(paths) == len(set(paths))
    by_name = {planned.name: {run.out for run in planned.runs} for planned in plan.experiments}
    # Table S3 (VICReg), Fig. 2 and Few labels use Table 1's arms at the sparsest side.
    sparsest_runs = {run for run in by_name["table1"] if "downsample-4" in run.name}
    assert sparsest_runs
    assert sparsest_runs <= by_name["table-s3"]
    assert sparsest_runs <= by_name["fig2"]
    assert sparsest_runs == by_name["few-labels"]
    assert by_name["fig-s4"] <= by_name["table2"]  # encoders of masks
    assert by_name["fig3"] == by_name["fig-s5"]
    full_runs = {run for run in by_name["table1"] if "-full-" in run.name}
    assert len(full_runs & by_name["table2"]) == len(full_runs)
    assert len(paths) < sum(map(len, by_name.values())) / 2


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_can_be_planned(scale: Any, options: ReproduceConfig, tissue: Store) -> None:
    setting = Setting.of(replace(options, scale=scale, sides=(8, 4)), tissue)
    for name, kind in members(experiments, Experiment).items():
        for study in kind().studies(setting).values():
            assert study.out.parent == options.out, name
            assert study.runs == options.out / "runs"


def test_authors_protocol_sets_its_options(options: ReproduceConfig, tissue: Store) -> None:
    setting = Setting.of(replace(options, protocol="authors"), tissue)
    study = setting.study("x", primary=(setting.sparsest,))
    assert isinstance(study, StudyConfig)
    assert study.train.views == "authors"
    assert study.objectives == ("vicreg:authors",)
    assert study.primary == ("downsample:4,point",)
    assert (study.train.epsilon, study.train.clip_each) == (1e-7, 1.0)
    assert setting.masks == "nuclei:raw"
    assert (
        Setting.of(replace(options, scale="paper", protocol="authors", sides=(8,)), tissue).recipe[
            "encoder"
        ]
        == "keras-v1"
    )


def test_user_options_override_the_scale(options: ReproduceConfig, tissue: Store) -> None:
    setting = Setting.of(replace(options, epochs=7, encoder="test_vit", sides=(16, 8)), tissue)
    study = setting.study("x", primary=(setting.sparsest,))
    assert (study.train.epochs, study.train.encoder, study.primary) == (
        7,
        "test_vit",
        ("downsample:8",),
    )
    assert study.pairing.width == SCALES["smoke"].recipe["width"]


def test_invalid_input_is_refused(options: ReproduceConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Give an experiment"):
        Plan.of(replace(options, experiments=()))
    with pytest.raises(ConfigError, match=r"no experiment named 'table9'.*did you mean"):
        Plan.of(replace(options, experiments=("table9",)))
    with pytest.raises(ConfigError, match="--scale small needs patches; give --store"):
        Plan.of(replace(options, scale="small", store=None))
    with pytest.raises(DataError, match="There is no store at"):
        Plan.of(replace(options, store=tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="downsample:64 is larger than the patches of 32 pixels"):
        Plan.of(replace(options, sides=(64, 4)))
    patches = len(Plan.of(options).setting.store.indices("train"))
    with pytest.raises(ConfigError, match=r"few-pairs cannot be run on .*: --batch \d+ is larger"):
        Plan.of(replace(options, batch=patches // 2))


class Plain(Synthetic):
    """Tissue without nuclei."""

    def datasheet(self) -> Any:
        return replace(super().datasheet(), scheme=None)

    def read(self, item: Any) -> Any:
        return {"he": super().read(item)["he"]}


def test_unsupported_experiments_are_skipped_and_named(
    options: ReproduceConfig, tmp_path: Path
) -> None:
    ingest(Plain(patches=180, patients=12, size=32), tmp_path / "plain", progress=False)
    plain_options = replace(options, store=tmp_path / "plain")
    plan = Plan.of(plain_options)
    assert set(plan.skipped) == {"table2", "fig-s4"}
    assert "contains no nuclei" in plan.skipped["table2"]
    with pytest.raises(DataError, match=r"table2 cannot be run on .+contains no nuclei"):
        Plan.of(replace(plain_options, experiments=("table2",)))


def test_zero_and_false_options_are_kept(options: ReproduceConfig, tissue: Store) -> None:
    falsy_options = replace(options, standardise=False, probe_every=0)
    recipe = Setting.of(falsy_options, tissue).recipe
    assert (recipe["standardise"], recipe["probe_every"]) == (False, 0)
    with pytest.raises(ConfigError, match="--seeds is 0"):
        Setting.of(replace(options, seeds=0), tissue).study("x", primary=("downsample:8",))


def test_encoders_have_the_papers_names(options: ReproduceConfig, tissue: Store) -> None:
    specs = ("resnet50", "my.module:One", "my.module:Other")
    encoders = Setting.of(replace(options, encoders=specs), tissue).encoders
    assert encoders == {"ResNet50": "resnet50", specs[1]: specs[1], specs[2]: specs[2]}
