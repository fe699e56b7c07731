"""Representations of a study's arms, from its folder to tables and figures."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch

from morefromless.analysis import layer_cka as module
from morefromless.analysis.layer_cka import layer_cka
from morefromless.analysis.represent import arm_words, load_study_config, represent
from morefromless.cli import run
from morefromless.config import Analysis, Probe, RepresentConfig
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.frozen import FrozenEncoder, random_encoder
from morefromless.report import similarities
from morefromless.runner import run_all
from morefromless.study import Study
from tests.conftest import study_config

pytestmark = pytest.mark.xdist_group("represent")  # tests share a slow fixture

CPU = Analysis(device="cpu")


@pytest.fixture(scope="module")
def folder(tissue: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three arms with two seeds, one epoch each."""
    out = tmp_path_factory.mktemp("study")
    options = {"primary": ["downsample:8"], "sharing": ["independent"], "standardise": True}
    config = study_config(tissue.path, out, width=32, epochs=1, probe_epochs=5, **options)
    study = Study.of(config)
    run_all(study.runs, 1)
    study.evaluate(progress=False).save(out)
    return out


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> RepresentConfig:
    probe = Probe(probe_epochs=5, standardise=True)
    return RepresentConfig(study=folder, out=tmp_path / "out", probe=probe, analysis=CPU)


def test_all_arms_and_untrained_encoders_are_compared(
    config: RepresentConfig, tissue: Store
) -> None:
    result = represent(config)
    arms = ["asymmetric, independent", "symmetric, independent", "supervised", "random"]
    assert list(result.arms) == arms[:3]
    by_arms = {(cka.a, cka.b): cka for cka in result.cka}
    # Two seeds: one pair within an arm; between arms, the two pairs with different seeds.
    assert {pair: len(cka.combinations) for pair, cka in by_arms.items()} == {
        (a, b): 1 if a == b else 2 for first, a in enumerate(arms) for b in arms[first:]
    }
    assert not any(cka.equal_seeds for cka in result.cka)
    within = by_arms["random", "random"]
    assert np.isfinite(within.mean).all()
    np.testing.assert_allclose(within.mean, within.mean.T)
    test_patches = len(tissue.indices("test"))
    assert all(counts.sum() == 2 * test_patches for counts in result.confusion.values())
    for arm, answers in result.arms.items():
        correct = sum(
            int((answer.probabilities.argmax(1) == answer.labels).sum()) for answer in answers
        )
        assert np.trace(result.confusion[arm]) == correct


def test_encoders_with_equal_initial_weights_are_not_a_pair(tissue: Store, tmp_path: Path) -> None:
    """Untrained runs with equal seeds are the same network, so their CKA is 1."""
    encoders = [
        random_encoder("test_resnet", "downsample:8", 32, seed, tmp_path) for seed in range(2)
    ]
    rows = tissue.indices("test")
    arms = {"a": encoders, "b": encoders}
    within, between, _ = layer_cka(arms, tissue, rows, CPU, "cpu")
    np.testing.assert_allclose(between.mean, within.mean)
    assert between.mean[-1, -1] < 0.999
    [between] = layer_cka({"a": encoders[:1], "b": encoders[:1]}, tissue, rows, CPU, "cpu")
    assert between.equal_seeds
    np.testing.assert_allclose(between.diagonal, 1, atol=1e-6)


@pytest.mark.parametrize(
    ("estimator", "patches", "sizes"),
    [
        ("unbiased", 0, [15, 15]),
        ("unbiased", 22, [11, 11]),
        ("unbiased", 3, [4]),
        ("biased", 0, [30]),
    ],
)
def test_patches_are_split_evenly_into_batches(
    estimator: Literal["unbiased", "biased"],
    patches: int,
    sizes: list[int],
    tissue: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FrozenEncoder, "render", lambda _, __, rows, ___: torch.from_numpy(rows))
    monkeypatch.setattr(module, "execution_order", lambda _, names, __: names)
    monkeypatch.setattr(module, "similarities", lambda *arguments: arguments)
    encoder = random_encoder("test_resnet", "downsample:8", 32, 3, tmp_path)
    names = ["network.layer2.0.conv1", "network.layer1.0.conv1"]
    analysis = Analysis(
        cka_patches=patches, cka_batch=11, estimator=estimator, layers=" + ".join(names)
    )
    rows = np.arange(100, 130)
    arguments: Any = layer_cka({"a": [encoder], "b": [encoder]}, tissue, rows, analysis, "cpu")
    networks, layers, batches, seeds, name = arguments
    assert (networks["b"], seeds["b"], layers["b"]) == ([encoder.encoder], [3], names)
    assert name == estimator
    drawn_batches = list(batches)
    assert all(batch["a"].equal(batch["b"]) for batch in drawn_batches)
    assert [len(batch["a"]) for batch in drawn_batches] == sizes
    order = torch.cat([batch["a"] for batch in drawn_batches]).tolist()
    assert len(set(order) & set(rows)) == sum(sizes)
    assert order != sorted(order)  # because a store is sorted by class
    minimum = 4 if estimator == "unbiased" else 2
    with pytest.raises(
        ConfigError, match=f"needs {minimum} patches or more, but there are {minimum - 1}"
    ):
        layer_cka({"a": [encoder]}, tissue, rows[: minimum - 1], analysis, "cpu")


def test_all_files_are_written(config: RepresentConfig, tmp_path: Path) -> None:
    result = represent(replace(config, arms=("asymmetric-independent", "random")))
    assert list(result.arms) == ["asymmetric, independent"]
    paths = similarities.write(result)
    stems = ("cka", "cka-diagonal", "confusion", "gradcam-first", "gradcam-stages", "features")
    expected = {f"{stem}.{kind}" for stem in stems for kind in ("svg", "pdf", "png", "csv")}
    expected |= {f"representations.{kind}" for kind in ("md", "csv", "json")}
    assert {path.name for path in paths} == expected
    report = similarities.report(result)
    report.show()
    assert (
        "test patches in 1 batch;" in report.notes[0]
    )  # 45 patches are too few for a batch of 128
    assert "standard deviations are over combinations of 2 runs" in report.notes[1]
    assert "'random' means untrained" in report.notes[2]
    trained = [pair for pair in result.cka if "random" not in (pair.a, pair.b)]
    assert "'random'" not in " ".join(similarities.report(replace(result, cka=trained)).notes)
    saved = json.loads((result.out / "representations.json").read_text())
    first = result.cka[0]
    assert (saved["cka"][0]["combinations"], saved["cka"][0]["sd"]) == (1, None)
    np.testing.assert_allclose(saved["cka"][0]["mean"], first.mean)
    lines = pd.read_csv(result.out / "cka.csv")
    cells = lines[(lines["a"] == first.a) & (lines["b"] == first.b)]
    np.testing.assert_allclose(cells["cka"], first.mean.ravel(), rtol=1e-6)
    markdown = (result.out / "representations.md").read_text()
    assert f" {first.diagonal.mean():.2f} |" in markdown  # a single combination has no deviation
    between = result.cka[1]
    assert f"{between.diagonal.mean():.2f} ± " in markdown
    other_config = replace(result.config, probe=Probe())
    notes = [
        note
        for r in (result, replace(result, config=other_config))
        for note in similarities.report(r).notes
    ]
    (note,) = (note for note in notes if "probes differ from the study's" in note)
    assert "(--probe-epochs was 5, is 100; --standardise was on, is off)" in note
    pictures = similarities.pictures(result, ("cka", "absent"), tmp_path)
    assert [picture.path for picture in pictures] == ["out/cka.svg"]
    assert "equal seeds are excluded" in pictures[0].caption


def test_pairs_of_equal_seeds_are_marked_if_there_are_no_others(
    tissue: Store, tmp_path: Path, folder: Path
) -> None:
    options = {"primary": ["downsample:8"], "sharing": ["independent"], "standardise": True}
    out = tmp_path / "one"
    config = study_config(
        tissue.path,
        out,
        width=32,
        epochs=1,
        probe_epochs=5,
        seeds=1,
        runs=str(folder / "runs"),
        **options,
    )
    Study.of(config).evaluate(progress=False).save(out)
    probe = Probe(probe_epochs=5, standardise=True)
    result = represent(RepresentConfig(study=out, probe=probe, analysis=CPU))
    assert len(result.cka) == 6  # all pairs of four arms, none with itself
    assert all(cka.equal_seeds for cka in result.cka)
    report = similarities.report(result)
    cells = [cell for row in report.sections[0].rows for cell in row[1:] if cell]
    assert len(cells) == 12
    assert all(cell.endswith("(equal seeds)") for cell in cells)
    assert [note for note in report.notes if "only pairs of runs with equal seeds" in note]
    assert not [note for note in report.notes if "standard deviations" in note]


def test_an_arm_is_named_by_its_first_words(config: RepresentConfig) -> None:
    result = represent(replace(config, arms=("asymmetric", "supervised")), cka=False)
    assert list(result.arms) == ["asymmetric, independent", "supervised"]


def test_runs_of_different_objectives_and_tasks_are_different_arms(tissue: Store) -> None:
    study = study_config(
        tissue.path, Path("out"), objectives=["vicreg", "simclr"], tasks=["tissue", "cell"]
    )
    names = {"-".join(arm_words(run, study)) for run in Study.of(study, tissue).runs}
    assert names == {
        *(
            f"{kind}-{sharing}-{objective}"
            for kind in ("asymmetric", "symmetric")
            for sharing in ("shared", "independent")
            for objective in ("vicreg", "simclr")
        ),
        "supervised-tissue",
        "supervised-cell",
    }


def test_invalid_input_is_refused_in_one_sentence(
    config: RepresentConfig, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="contains no results"):
        represent(replace(config, study=tmp_path))
    with pytest.raises(ConfigError, match="has no primary 'full', only downsample:8"):
        represent(replace(config, primary="full"))
    with pytest.raises(ConfigError, match="Untrained encoders alone cannot be compared"):
        represent(replace(config, arms=("random",)))
    with pytest.raises(ConfigError, match="has no arm 'trident'; it has asymmetric-independent"):
        represent(replace(config, arms=("trident",)))
    assert run(["represent", str(folder), "--layers", "conv9"]) == 2
    assert "no layer 'conv9'" in capsys.readouterr().err.splitlines()[-1]
    weights = next(folder.glob("runs/supervised*/weights.safetensors"))
    moved = weights.rename(weights.with_suffix(".away"))
    try:
        with pytest.raises(ConfigError, match=r"1 of 6 runs of .+ are not finished"):
            represent(config)
    finally:
        moved.rename(weights)


def test_study_is_found_after_its_folders_moved_together(
    config: RepresentConfig, folder: Path, tissue: Store, tmp_path: Path
) -> None:
    study = Path(shutil.copytree(folder, tmp_path / "moved" / "study"))
    shutil.move(study / "runs", tmp_path / "moved" / "shared")
    path = study / "results.json"
    saved = json.loads(path.read_text())
    saved["config"] |= {"store": "gone", "out": "from/study", "runs": "from/shared"}
    path.write_text(json.dumps(saved))
    moved = replace(config, study=study, store=tissue.path, arms=("supervised",))
    answers = represent(moved, cka=False).arms["supervised"]
    parents = [answer.frozen.folder.parent.resolve() for answer in answers]
    assert parents == [(tmp_path / "moved" / "shared").resolve()] * 2
    with pytest.raises(DataError, match="--store FOLDER"):
        load_study_config(study)
    for path in (tmp_path / "moved" / "shared").glob(
        "*/run.json"
    ):  # the store was moved with the runs
        record = json.loads(path.read_text())
        record["options"]["store"] = os.path.relpath(tissue.path, path.parent)
        path.write_text(json.dumps(record))
    assert load_study_config(study).store.samefile(tissue.path)
