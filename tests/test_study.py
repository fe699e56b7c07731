"""A study: the runs and evaluations that it plans, and errors before training."""

from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from morefromless import canonical
from morefromless.arms import arms, condition_of
from morefromless.config import StudyConfig
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.runner import run_all
from morefromless.specs import SPEC_OPTIONS
from morefromless.study import Study
from tests.conftest import changed, study_config


def titles(config: StudyConfig) -> list[tuple[str, str, str]]:
    return [(arm.kind, "" if arm.supervised else arm.sharing, arm.primary) for arm in arms(config)]


def test_every_arm_is_planned_once_per_seed(comparison: StudyConfig, tissue: Store) -> None:
    study = Study.of(changed(comparison, primary=["downsample:4", "downsample:8"]), tissue)
    assert [run.seed for run in study.runs] == [0] * 10 + [1] * 10
    assert len({run.out for run in study.runs}) == 20
    assert titles(comparison) == [
        ("asymmetric", "shared", "downsample:4"),
        ("asymmetric", "independent", "downsample:4"),
        ("symmetric", "shared", "downsample:4"),
        ("symmetric", "independent", "downsample:4"),
        ("supervised", "", "downsample:4"),
    ]


def test_optional_arms_are_added_on_request(comparison: StudyConfig) -> None:
    config = changed(comparison, sharing=["independent"])
    plain = titles(config)
    assert ("trident", "independent", "downsample:4") in titles(changed(config, trident=True))
    dense = [("symmetric", "independent", "full"), ("supervised", "", "full")]
    assert titles(changed(config, dense_arms=True)) == [*plain, *dense]
    assert titles(changed(config, both_ways=True)) == [*plain, *dense]
    two_tasks = changed(config, tasks=["tissue", "cell"], objectives=["vicreg", "simclr"])
    assert len(titles(two_tasks)) == 2 * 2 + 2


def test_studies_share_equal_runs(comparison: StudyConfig, tissue: Store) -> None:
    def names(**options: Any) -> set[str]:
        return {run.out.name for run in Study.of(changed(comparison, **options), tissue).runs}

    shared = names() & names(privileged="downsample:16")
    assert len(shared) == 6  # symmetric and supervised
    assert not any("asymmetric" in name for name in shared)
    assert names(tasks=["cell"]) < names(tasks=["tissue", "cell"])
    assert names() & names(first_seed=2, seeds=1) == set()
    assert names() | names(first_seed=2, seeds=1) == names(seeds=3)


def test_arms_with_few_pairs_train_for_as_many_steps(
    comparison: StudyConfig, tissue: Store
) -> None:
    options = changed(comparison, pairs=0.5, steps=16, batch=16, fine_tune=True)
    runs = Study.of(options, tissue).runs
    epochs = {(run.arm.pretraining_arm or run.arm).kind: run.train.epochs for run in runs}
    assert epochs == {"asymmetric": 4, "symmetric": 2, "supervised": 2}  # of 4, 8 and 8 steps
    assert all(
        run.train.epochs == epochs[run.arm.pretraining_arm.kind]
        for run in runs
        if run.arm.pretraining_arm
    )
    # Each kind is one block of the tables.
    kinds = list(dict.fromkeys(run.arm.kind for run in runs))
    assert [kind for kind, _ in groupby(run.arm.kind for run in runs)] == kinds * options.seeds
    with pytest.raises(ConfigError, match="--batch 96 is larger than"):
        Study.of(changed(options, batch=96), tissue)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tasks": ["cells"]}, "no task named 'cells'"),
        ({"primary": ["downsample:4", "downsample:size=4"]}, "downsample:4 twice"),
        ({"primary": ["full:he", "full"], "privileged": "nuclei"}, "full twice"),
        ({"objectives": ["vicreg", "vicreg:official"]}, "vicreg twice"),
        ({"primary": ["nuclei:types=3"]}, "draws 3"),
        ({"batch": 1000}, "larger than the 135 training patches"),
        ({"primary": ["full:ihc"]}, "no array 'ihc'"),
        ({"primary": ["downsample:64"]}, "64"),
        ({"objectives": ["vicrag"]}, "vicreg"),
        ({"views": "table-s2"}, "table-s1"),
        ({"encoder": "resnet51"}, "did you mean"),
        ({"sharing": ["shared"], "privileged_encoder": "test_vit"}, "two architectures"),
    ],
)
def test_impossible_studies_are_refused_before_training(
    comparison: StudyConfig, tissue: Store, options: dict[str, Any], words: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=words):
        Study.of(changed(comparison, **options), tissue)
    assert not comparison.out.exists()


def test_store_without_test_patches_is_refused(comparison: StudyConfig, tissue: Store) -> None:
    """`mfl ingest` does not write such stores, but Python code can select one."""
    table = tissue.table.assign(split=tissue.table["split"].mask(tissue.table["split"] == "test"))
    store = Store(tissue.path, tissue.meta, table, tissue.arrays, tissue.present)
    with pytest.raises(ConfigError, match=r"No labelled test patch has downsample:4"):
        Study.of(comparison, store)


def test_finished_study_is_not_repeated(study: Study) -> None:
    def times() -> dict[Path, int]:
        files = [path for path in study.config.out.rglob("*") if path.is_file()]
        return {path: path.stat().st_mtime_ns for path in files}

    first = study.evaluate(progress=False)
    before = times()
    repeated = Study.of(study.config)
    assert repeated.done
    run_all(repeated.runs)
    results = repeated.evaluate(progress=False)
    assert times() == before
    assert results.summaries == first.summaries
    assert results.contrasts == first.contrasts


def test_both_ways_evaluates_both_and_one_seed_gives_no_verdict(
    tissue: Store, tmp_path: Path
) -> None:
    config = study_config(
        tissue.path,
        tmp_path / "study",
        primary=["nuclei"],
        tasks=["tissue", "cell"],
        sharing=["independent"],
        both_ways=True,
        seeds=1,
        epochs=1,
        width=32,
        probe_epochs=5,
        labels=0.5,
    )
    study = Study.of(config)
    run_all(study.runs, 1)
    results = study.evaluate(progress=False)
    evaluated = {(c.a.modality, c.a.task) for c in results.contrasts}
    assert evaluated == {(m, t) for m in ("nuclei", "full") for t in ("tissue", "cell")}
    assert {c.name for c in results.contrasts} == {"asymmetric - symmetric, both independent"}
    assert {c.verdict for c in results.contrasts} == {"no verdict"}
    supervised = results.select(lambda c: c.arm == "supervised" and c.objective == c.task)
    assert len(supervised) == 4
    assert all(summary.head for summary in supervised)
    paired = results.select(lambda c: c.arm == "asymmetric")
    assert {(s.condition.modality, s.condition.partner) for s in paired} == {
        ("nuclei", "full"),
        ("full", "nuclei"),
    }
    floors = results.select(lambda c: c.floor)
    assert len(floors) == 2 * 2 * 4


def test_privileged_size_sets_the_resolution_of_its_branch(tissue: Store, tmp_path: Path) -> None:
    options = {"privileged_size": 16, "sharing": ["shared"], "seeds": 1, "epochs": 1}
    study = Study.of(study_config(tissue.path, tmp_path, probe_epochs=1, **options))
    first_run_only = replace(study, runs=study.runs[:1])
    run_all(first_run_only.runs, 1)
    summaries = first_run_only.evaluate(progress=False).select(lambda c: c.trained)
    assert [s.resolution for s in summaries] == [4, 16]


def test_canonical_forms_cover_all_spec_options() -> None:
    assert set(canonical._FORMS) == set(SPEC_OPTIONS)


def test_condition_of_a_branch_has_its_modality_and_partner(study: Study) -> None:
    arm = next(run.arm for run in study.runs if run.arm.kind == "asymmetric")
    primary, privileged = (condition_of(arm, name, "cell") for name in ("primary", "privileged"))
    assert (primary.modality, primary.partner) == ("downsample:4", "full")
    assert (privileged.modality, privileged.partner) == ("full", "downsample:4")
    assert primary.title == "asymmetric, shared"
