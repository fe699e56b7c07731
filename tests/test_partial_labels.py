"""A store of which half has no label: all of it is trained on, the labelled half is asked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image

from morefromless.analysis.headroom import measure_headroom
from morefromless.analysis.validate import validate
from morefromless.config import HeadroomConfig, Probe, ValidateConfig
from morefromless.data.labels import UNLABELLED
from morefromless.data.store import Store
from morefromless.errors import DataError
from morefromless.evaluation.calibration import calibrate
from morefromless.evaluation.evaluate import evaluate, evaluate_encoder
from morefromless.evaluation.floors import floor_probabilities
from morefromless.evaluation.hold_out import write_hold_out_store
from morefromless.evaluation.loading import load_encoders
from morefromless.evaluation.results import Results
from morefromless.identity import run_key
from morefromless.ingest import ingest
from morefromless.pairs import build_modality
from morefromless.runner import run_all
from morefromless.runs import Run
from morefromless.sources import Item
from morefromless.sources.synthetic import Synthetic
from morefromless.study import Study
from morefromless.tasks import build_task
from morefromless.training.pretrain import pretrain
from morefromless.training.train import train
from tests.conftest import run_config, study_config

COUNT = 120


def table(root: Path, source: Store, labelled_only: bool) -> Path:
    """Every second patch of a store has a label; the others have none, or are not there."""
    lines = []
    for row, (name, label) in enumerate(zip(source.table["id"], source.labels, strict=True)):
        Image.fromarray(source.array("he")[row]).save(root / f"{row}.png")
        if row % 2 or not labelled_only:
            lines.append((name, f"{row}.png", "ABC"[label % 3] if row % 2 else ""))
    path = root / f"{'half' if labelled_only else 'whole'}.csv"
    pd.DataFrame(lines, columns=["id", "he", "label"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """Of all patches, and of the labelled ones alone."""
    root = tmp_path_factory.mktemp("partial")
    drawn = ingest(Synthetic(patches=COUNT, patients=6, size=32), root / "drawn", progress=False)
    whole, half = (
        ingest(table(root, drawn.store, alone), root / f"store-{alone}", progress=False).store
        for alone in (False, True)
    )
    return whole, half


def ids(store: Store, split: str) -> set[str]:
    return set(store.table["id"][store.table["split"] == split])


def test_all_are_trained_on_and_the_labelled_ones_are_asked(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    whole, half = stores
    assert ids(whole, "test") == ids(half, "test")
    assert len(ids(whole, "train")) == len(ids(half, "train")) + COUNT // 2
    options = run_config(whole.path, tmp_path / "run", epochs=1, batch=32)
    run = pretrain(replace(options, machine=replace(options.machine, probe_every=2)))
    assert run.record.facts["steps"] == len(ids(whole, "train")) // 32 == 3
    assert whole.caveats[1].startswith(f"{COUNT // 2} of {COUNT} patches have no label (")
    answers = {a.frozen.name: a for a in evaluate(run, whole, Probe(probe="ridge"))}
    curve = pd.read_csv(run.path / "curve.csv").set_index(["step", "branch"])["accuracy"]
    for name, frozen in load_encoders(run).items():
        alone = evaluate_encoder(
            replace(frozen, folder=None), half, Probe(probe="ridge"), "tissue", 0
        )
        np.testing.assert_allclose(answers[name].probabilities, alone.probabilities, atol=1e-5)
        assert answers[name].labels.tolist() == alone.labels.tolist()
        assert answers[name].store.classes == alone.store.classes == ("A", "B", "C")
        assert curve[3, name] == pytest.approx(alone.scores.values["accuracy"], abs=1e-4)


def test_floors_and_headroom_are_those_of_the_labelled_patches(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    floors, gains = [], []
    for number, store in enumerate(stores):
        asked = store.select(build_modality("full"), task=build_task("tissue"))
        floors.append(
            floor_probabilities("mean-rgb", asked, "full", "tissue", 0.5, 0, tmp_path / f"{number}")
        )
        config = HeadroomConfig(store=store.path, out=tmp_path / "h", components=4)
        gains.append(measure_headroom(config))
    np.testing.assert_array_equal(*floors)
    assert gains[0].sparse == gains[1].sparse
    assert gains[0].dense == gains[1].dense


def test_a_study_plans_supervised_arms_of_the_labelled_patches(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    whole, half = stores
    few = len(ids(half, "train"))
    config = study_config(
        whole.path, tmp_path / "b", seeds=1, epochs=1, batch=few + 1, sharing=["shared"]
    )
    study = Study.of(config)
    batches = {run.arm.kind: run.train.batch for run in study.runs}
    assert batches == {"asymmetric": few + 1, "symmetric": few + 1, "supervised": few}
    assert any(f"Supervised arms train in batches of {few}," in said for said in study.caveats)
    longer = Study.of(replace(config, train=replace(config.train, batch=few // 2)))
    assert longer.caveats[-1].startswith("Supervised arms train for as few as 2 steps, self-s")
    equal = Study.of(replace(longer.config, steps=4))
    assert not any("as few as" in said for said in equal.caveats)
    run_all(study.runs, 1)
    data = next(iter(load_encoders(Run(study.runs[0].out)).values())).metadata.data
    assert data.classes == ("A", "B", "C")
    results = study.evaluate(progress=False)
    assert results.data.patches == {
        "train": few + COUNT // 2,
        "val": 0,
        "test": len(half.indices("test")),
    }
    assert {*results.data.classes["tissue"]} == {"A", "B", "C"}
    majority = half.labels[half.indices("train")]
    expected = np.mean(half.labels[half.indices("test")] == np.bincount(majority).argmax())
    rows = results.table.query("arm == 'majority' and metric == 'accuracy'")
    assert rows["value"].tolist() == [pytest.approx(expected)] * 2


def test_fine_tuning_takes_all_of_few_labels_at_a_time(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    """It was refused where fewer patches than a batch had a label, which is what it is for."""
    whole, half = stores
    few = len(ids(half, "train"))
    options = {"seeds": 1, "epochs": 2, "batch": few + 1, "sharing": ["shared"]}
    study = Study.of(study_config(whole.path, tmp_path / "a", fine_tune=True, **options))
    batches = f"Supervised and fine-tuned arms train in batches of {few}, "
    assert any(said.startswith(batches) for said in study.caveats)
    runs = {run.arm.words: run for run in study.runs}
    tuned = runs["fine-tuned", "asymmetric", "shared"]
    assert train(tuned).record.facts["batch"] == few
    first = Run(tuned.out / "self-supervised")
    assert first.record.facts["batch"] == few + 1
    assert first.record.key == run_key(runs["asymmetric", "shared"], whole.hash)


def test_fine_tuning_on_few_labels_has_epochs_of_its_own(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    whole, half = stores
    few = len(ids(half, "train"))
    options = {"seeds": 1, "epochs": 2, "batch": few // 2, "sharing": ["shared"]}
    config = study_config(whole.path, tmp_path, fine_tune=True, **options)
    fewer, steps = Study.of(config), Study.of(replace(config, steps=8))
    epochs = Study.of(replace(config, supervised_epochs=5))
    assert any(said.startswith("Fine-tuned arms train for as few as 4 ") for said in fewer.caveats)
    assert not any("as few as" in said for said in steps.caveats + epochs.caveats)
    passes = []
    for study in (fewer, epochs, steps):
        tuned = next(run for run in study.runs if run.arm.pretraining_arm)
        start = replace(tuned, arm=tuned.arm.pretraining_arm)
        # The run that it begins from is the study's own.
        assert run_key(start, whole.hash) in [run_key(run, whole.hash) for run in study.runs]
        passes.append((start.epochs, tuned.epochs))
    per_epoch = (few + COUNT // 2) // (few // 2), 2  # steps, of all and of the labelled patches
    assert passes == [(2, 2), (2, 5), (round(8 / per_epoch[0]), 8 // per_epoch[1])]


def test_a_hold_out_has_every_class_on_both_sides(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    held = write_hold_out_store(stores[0], tmp_path / "held", clusters=20)
    asked = held.select(task=build_task("tissue"))
    assert len(np.unique(asked.labels[asked.indices("test")])) == 3
    assert len(held.table) == len(stores[0].indices("train"))
    assert f"{stores[0].path.name}: {stores[0].caveats[1]}" in held.caveats


@pytest.mark.parametrize("classes", [0, 1])
def test_a_view_that_labelled_training_patches_lack_is_not_asked(
    tmp_path: Path, classes: int
) -> None:
    lines = []
    rng = np.random.default_rng(0)
    for row in range(COUNT):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{row}.png")
        label, split = "AB"[row // 2 % 2] if row % 2 else "", ("test", "train")[row % 3 > 0]
        has = split == "test" or not label or (classes and label == "A")
        lines.append((f"{row}", f"{row}.png", f"{row}.png" if has else "", label, split))
    table = pd.DataFrame(lines, columns=["id", "he", "ihc", "label", "split"])
    table.to_csv(tmp_path / "pairs.csv", index=False)
    path = tmp_path / "store"
    store = ingest(tmp_path / "pairs.csv", path, missing="keep", progress=False).store
    views = {"primary": ["full:he"], "privileged": "full:ihc", "size": 32, "sharing": ["shared"]}
    study = Study.of(study_config(path, tmp_path / "s", **views | {"seeds": 1, "epochs": 1}))
    reason = "The labelled training patches that have full:ihc are of one class or none, so its"
    assert f"{reason} encoders are not evaluated." in study.caveats
    run_all(study.runs, 1)
    assert {*study.evaluate(progress=False).table["modality"]} == {"full"}
    answers = evaluate(Run(study.runs[0].out), store, Probe(probe="ridge"))
    assert [answer.frozen.name for answer in answers] == ["primary"]
    privileged = load_encoders(Run(study.runs[0].out))["privileged"]
    with pytest.raises(DataError, match="have full:ihc are of one class or none"):
        calibrate(privileged, store, Probe(), "tissue")


class Elsewhere(Synthetic):
    """A cohort in which every third patch, or each, has no label, or is not there."""

    def __init__(self, keep: bool, every: int = 3) -> None:
        super().__init__(patches=90, patients=9, size=40, seed=7)
        self.keep, self.every = keep, every

    def items(self) -> list[Item]:
        return [
            item if place % self.every else replace(item, label=UNLABELLED)
            for place, item in enumerate(super().items())
            if self.keep or place % self.every
        ]

    def read(self, item: Item) -> dict[str, npt.NDArray[np.uint8]]:
        return super().read(next(own for own in super().items() if own.id == item.id))


def test_a_cohort_is_asked_its_labelled_patches(study: Study, tmp_path: Path) -> None:
    run = next(run.out for run in study.runs if run.arm.kind == "asymmetric")

    def external(name: str, source: Elsewhere) -> Results:
        ingest(source, tmp_path / name, split="test", progress=False, workers=1)
        out = tmp_path / f"validation-{name}"
        return validate(ValidateConfig(study=run, cohort=tmp_path / name, out=out)).external

    partly, alone = external("a", Elsewhere(keep=True)), external("b", Elsewhere(keep=False))
    assert len(Store.open(tmp_path / "a").table) == 90
    pd.testing.assert_frame_equal(partly.table, alone.table, rtol=1e-4)
    assert partly.data.patches == alone.data.patches == {"train": 0, "val": 0, "test": 60}
    assert partly.data.classes == alone.data.classes
    with pytest.raises(DataError, match="has 'unlabelled', but the trained classes are"):
        external("c", Elsewhere(keep=True, every=1))
