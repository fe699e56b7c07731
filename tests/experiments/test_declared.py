"""Experiments as they are declared: the published numbers, and the runs that each wants."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from morefromless.options import CompareOptions, ReproduceOptions
from morefromless.reproduction.plan import plan

from morefromless import experiments
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.experiments import (
    SCALES,
    Experiment,
    Setting,
    known,
    table1,
    table2,
    table_s2,
    table_s3,
)
from morefromless.ingest import ingest
from morefromless.sources.synthetic import Synthetic
from morefromless.specs import members

PAPER = Path(__file__).parents[3] / "shared" / "paper" / "more-from-less.txt"


@pytest.fixture
def options(tissue: Store, tmp_path: Path) -> ReproduceOptions:
    return ReproduceOptions(
        experiments=("all",),
        scale="smoke",
        store=tissue.path,
        out=tmp_path,
        batch=16,  # a fifth of the pairs fills one
    )


def _numbers(values: Any) -> list[float]:
    if isinstance(values, dict):
        return [n for value in values.values() for n in _numbers(value)]
    if isinstance(values, tuple):
        return [n for value in values for n in _numbers(value)]
    return [values]


@pytest.mark.skipif(not PAPER.exists(), reason="the paper's text is not beside this checkout")
@pytest.mark.parametrize(
    ("module", "place", "count"),
    [
        (table1, "Table 1", 18),
        (table2, "Table 2", 24),
        (table_s2, "Table S2", 24),
        (table_s3, "Table S3", 16),
    ],
)
def test_published_numbers_are_the_papers(module: Any, place: str, count: int) -> None:
    """In the text's own order, so that none stands in another's place."""
    text = PAPER.read_text()
    start = text.index(f"\n{place}: ")
    ours = _numbers(module.PUBLISHED)
    if module is table_s2 or module is table_s3:
        rows = re.findall(r"^[^\t\n]+((?:\t0\.\d{4})+)\s*$", text[start:], re.M)
        theirs = [float(n) for row in rows for n in row.split()][:count]
    else:
        theirs = [float(n) for n in re.findall(r"0\.\d{4}", text[start : start + 1800])][:count]
    assert len(ours) == count
    if module is table2:  # the text has run two of its rows into one
        assert ours[:6] + ours[-6:] == theirs[:6] + theirs[-6:]
        ours, theirs = sorted(ours), sorted(theirs)
    assert ours == theirs


def test_the_order_of_all_is_the_papers() -> None:
    assert known() == [
        "table1",
        "table2",
        "table-s2",
        "table-s3",
        "fig2",
        "fig3",
        "fig-s4",
        "fig-s5",
        "few-labels",
        "few-pairs",
    ]
    assert set(known()) == set(members(experiments, Experiment))


def test_runs_are_shared_between_tables(options: ReproduceOptions) -> None:
    made = plan(options)
    paths = [one.run.path for one in made.runs]
    assert len(paths) == len(set(paths))
    by_name = {one.name: {run.run.path for run in one.runs} for one in made.wanted}
    # Table 1's arms at the sparsest side are Table S3's VICReg, Fig. 2's, and Few labels'.
    seven = {run for run in by_name["table1"] if "downsample-4" in run.name}
    assert seven
    assert seven <= by_name["table-s3"]
    assert seven <= by_name["fig2"]
    assert seven == by_name["few-labels"]
    assert by_name["fig-s4"] <= by_name["table2"]  # encoders of masks
    assert by_name["fig3"] == by_name["fig-s5"]
    whole = {run for run in by_name["table1"] if "-full-" in run.name}
    assert len(whole & by_name["table2"]) == len(whole)
    assert len(paths) < sum(map(len, by_name.values())) / 2


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_can_be_planned(scale: Any, options: ReproduceOptions, tissue: Store) -> None:
    setting = Setting.of(replace(options, scale=scale, sides=(8, 4)), tissue)
    for name, kind in members(experiments, Experiment).items():
        for study in kind().studies(setting).values():
            assert study.out.parent == options.out, name
            assert study.runs == options.out / "runs"


def test_the_authors_protocol_says_what_it_changes(
    options: ReproduceOptions, tissue: Store
) -> None:
    setting = Setting.of(replace(options, protocol="authors"), tissue)
    study = setting.compare("x", primary=(setting.sparsest,))
    assert isinstance(study, CompareOptions)
    assert study.views == "authors"
    assert study.objective == "vicreg:authors"
    assert study.primary == ("downsample:4,interpolation=point",)
    assert (study.epsilon, study.clip_each) == (1e-7, 1.0)
    assert setting.masks == "nuclei:raw,types=6"
    assert (
        Setting.of(replace(options, scale="paper", protocol="authors", sides=(8,)), tissue).recipe[
            "encoder"
        ]
        == "keras-v1"
    )


def test_what_a_person_says_goes_before_the_scale(options: ReproduceOptions, tissue: Store) -> None:
    setting = Setting.of(replace(options, epochs=7, encoder="test_vit", sides=(16, 8)), tissue)
    study = setting.compare("x", primary=(setting.sparsest,))
    assert (study.epochs, study.encoder, study.primary) == (7, "test_vit", ("downsample:8",))
    assert study.width == SCALES["smoke"].recipe["width"]


def test_bad_input_is_one_sentence(options: ReproduceOptions, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Name an experiment"):
        plan(replace(options, experiments=()))
    with pytest.raises(ConfigError, match=r"no experiment named 'table9'.*did you mean"):
        plan(replace(options, experiments=("table9",)))
    with pytest.raises(ConfigError, match="--scale small needs patches; give --store"):
        plan(replace(options, scale="small", store=None))
    with pytest.raises(DataError, match="There is no store at"):
        plan(replace(options, store=tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="downsample:64 cannot be made of patches of 32 pixels"):
        plan(replace(options, sides=(64, 4)))


class Plain(Synthetic):
    """Tissue without nuclei."""

    def datasheet(self) -> Any:
        return replace(super().datasheet(), scheme=None)

    def read(self, item: Any) -> Any:
        return {"he": super().read(item)["he"]}


def test_what_a_store_cannot_pose_is_left_out_of_all_and_named(
    options: ReproduceOptions, tmp_path: Path
) -> None:
    ingest(Plain(patches=180, patients=12, size=32), tmp_path / "plain", progress=False)
    given = replace(options, store=tmp_path / "plain")
    made = plan(given)
    assert set(made.skipped) == {"table2", "fig-s4"}
    assert "holds no nuclei" in made.skipped["table2"]
    with pytest.raises(DataError, match=r"table2 cannot be asked of .+holds no nuclei"):
        plan(replace(given, experiments=("table2",)))


def test_nothing_and_no_are_said_too(options: ReproduceOptions, tissue: Store) -> None:
    said = replace(options, standardise=False, probe_every=0)
    recipe = Setting.of(said, tissue).recipe
    assert (recipe["standardise"], recipe["probe_every"]) == (False, 0)
    with pytest.raises(ConfigError, match="--seeds is 0"):
        Setting.of(replace(options, seeds=0), tissue).compare("x", primary=("downsample:8",))


def test_encoders_go_by_the_papers_names_where_it_has_them(
    options: ReproduceOptions, tissue: Store
) -> None:
    typed = ("resnet50", "my.module:One", "my.module:Other")
    named = Setting.of(replace(options, encoders=typed), tissue).encoders
    assert named == {"ResNet50": "resnet50", typed[1]: typed[1], typed[2]: typed[2]}
