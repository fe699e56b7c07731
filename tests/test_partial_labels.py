"""A half labelled store: runs train on all patches and are evaluated on the labelled ones."""

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
    """Write a table of a store in which every second patch has a label; the rest has none, or is
    excluded."""
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
    """Stores of all patches, and of only the labelled ones."""
    root = tmp_path_factory.mktemp("partial")
    synthetic = ingest(
        Synthetic(patches=COUNT, patients=6, size=32), root / "drawn", progress=False
    )
    partly_labelled, labelled = (
        ingest(
            table(root, synthetic.store, labelled_only),
            root / f"store-{labelled_only}",
            progress=False,
        ).store
        for labelled_only in (False, True)
    )
    return partly_labelled, labelled


def ids(store: Store, split: str) -> set[str]:
    return set(store.table["id"][store.table["split"] == split])


def test_all_patches_are_trained_on_and_labelled_ones_evaluated(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    partly_labelled, labelled = stores
    assert ids(partly_labelled, "test") == ids(labelled, "test")
    assert len(ids(partly_labelled, "train")) == len(ids(labelled, "train")) + COUNT // 2
    options = run_config(partly_labelled.path, tmp_path / "run", epochs=1, batch=32)
    run = pretrain(replace(options, machine=replace(options.machine, probe_every=2)))
    assert run.record.facts["steps"] == len(ids(partly_labelled, "train")) // 32 == 3
    assert partly_labelled.caveats[1].startswith(f"{COUNT // 2} of {COUNT} patches have no label (")
    answers = {a.frozen.name: a for a in evaluate(run, partly_labelled, Probe(probe="ridge"))}
    curve = pd.read_csv(run.path / "curve.csv").set_index(["step", "branch"])["accuracy"]
    for name, frozen in load_encoders(run).items():
        expected = evaluate_encoder(
            replace(frozen, folder=None), labelled, Probe(probe="ridge"), "tissue", 0
        )
        np.testing.assert_allclose(answers[name].probabilities, expected.probabilities, atol=1e-5)
        assert answers[name].labels.tolist() == expected.labels.tolist()
        assert answers[name].store.classes == expected.store.classes == ("A", "B", "C")
        assert curve[3, name] == pytest.approx(expected.scores.values["accuracy"], abs=1e-4)


def test_floors_and_headroom_use_only_labelled_patches(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    floors, gains = [], []
    for number, store in enumerate(stores):
        selected = store.select(build_modality("full"), task=build_task("tissue"))
        floors.append(
            floor_probabilities(
                "mean-rgb", selected, "full", "tissue", 0.5, 0, tmp_path / f"{number}"
            )
        )
        config = HeadroomConfig(store=store.path, out=tmp_path / "h", components=4)
        gains.append(measure_headroom(config))
    np.testing.assert_array_equal(*floors)
    assert gains[0].sparse == gains[1].sparse
    assert gains[0].dense == gains[1].dense


def test_supervised_arms_train_on_labelled_patches(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    partly_labelled, labelled = stores
    n_labelled = len(ids(labelled, "train"))
    config = study_config(
        partly_labelled.path,
        tmp_path / "b",
        seeds=1,
        epochs=1,
        batch=n_labelled + 1,
        sharing=["shared"],
    )
    study = Study.of(config)
    batches = {run.arm.kind: run.train.batch for run in study.runs}
    assert batches == {
        "asymmetric": n_labelled + 1,
        "symmetric": n_labelled + 1,
        "supervised": n_labelled,
    }
    assert any(
        f"Supervised arms train in batches of {n_labelled}," in caveat for caveat in study.caveats
    )
    longer = Study.of(replace(config, train=replace(config.train, batch=n_labelled // 2)))
    assert longer.caveats[-1].startswith("Supervised arms train for as few as 2 steps, self-s")
    equal = Study.of(replace(longer.config, steps=4))
    assert not any("as few as" in caveat for caveat in equal.caveats)
    run_all(study.runs, 1)
    data = next(iter(load_encoders(Run(study.runs[0].out)).values())).metadata.data
    assert data.classes == ("A", "B", "C")
    results = study.evaluate(progress=False)
    assert results.data.patches == {
        "train": n_labelled + COUNT // 2,
        "val": 0,
        "test": len(labelled.indices("test")),
    }
    assert {*results.data.classes["tissue"]} == {"A", "B", "C"}
    train_labels = labelled.labels[labelled.indices("train")]
    expected = np.mean(
        labelled.labels[labelled.indices("test")] == np.bincount(train_labels).argmax()
    )
    rows = results.table.query("arm == 'majority' and metric == 'accuracy'")
    assert rows["value"].tolist() == [pytest.approx(expected)] * 2


def test_fine_tuning_uses_few_labels_in_one_batch(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    """Fewer labelled patches than a batch were once refused, although that is its main use."""
    partly_labelled, labelled = stores
    n_labelled = len(ids(labelled, "train"))
    options = {"seeds": 1, "epochs": 2, "batch": n_labelled + 1, "sharing": ["shared"]}
    study = Study.of(study_config(partly_labelled.path, tmp_path / "a", fine_tune=True, **options))
    batches = f"Supervised and fine-tuned arms train in batches of {n_labelled}, "
    assert any(caveat.startswith(batches) for caveat in study.caveats)
    runs = {run.arm.words: run for run in study.runs}
    tuned = runs["fine-tuned", "asymmetric", "shared"]
    assert train(tuned).record.facts["batch"] == n_labelled
    pretraining = Run(tuned.out / "self-supervised")
    assert pretraining.record.facts["batch"] == n_labelled + 1
    assert pretraining.record.key == run_key(runs["asymmetric", "shared"], partly_labelled.hash)


def test_fine_tuning_on_few_labels_has_its_own_epochs(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    partly_labelled, labelled = stores
    n_labelled = len(ids(labelled, "train"))
    options = {"seeds": 1, "epochs": 2, "batch": n_labelled // 2, "sharing": ["shared"]}
    config = study_config(partly_labelled.path, tmp_path, fine_tune=True, **options)
    fewer, steps = Study.of(config), Study.of(replace(config, steps=8))
    epochs = Study.of(replace(config, supervised_epochs=5))
    assert any(
        caveat.startswith("Fine-tuned arms train for as few as 4 ") for caveat in fewer.caveats
    )
    assert not any("as few as" in caveat for caveat in steps.caveats + epochs.caveats)
    passes = []
    for study in (fewer, epochs, steps):
        tuned = next(run for run in study.runs if run.arm.pretraining_arm)
        start = replace(tuned, arm=tuned.arm.pretraining_arm)
        # It starts from a run of the same study.
        assert run_key(start, partly_labelled.hash) in [
            run_key(run, partly_labelled.hash) for run in study.runs
        ]
        passes.append((start.epochs, tuned.epochs))
    # Steps with all patches and with the labelled ones.
    per_epoch = (n_labelled + COUNT // 2) // (n_labelled // 2), 2
    assert passes == [(2, 2), (2, 5), (round(8 / per_epoch[0]), 8 // per_epoch[1])]


def test_hold_out_has_every_class_in_both_splits(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    hold_out = write_hold_out_store(stores[0], tmp_path / "held", clusters=20)
    selected = hold_out.select(task=build_task("tissue"))
    assert len(np.unique(selected.labels[selected.indices("test")])) == 3
    assert len(hold_out.table) == len(stores[0].indices("train"))
    assert f"{stores[0].path.name}: {stores[0].caveats[1]}" in hold_out.caveats


@pytest.mark.parametrize("classes", [0, 1])
def test_view_missing_from_labelled_patches_is_not_evaluated(tmp_path: Path, classes: int) -> None:
    lines = []
    rng = np.random.default_rng(0)
    for row in range(COUNT):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{row}.png")
        label, split = "AB"[row // 2 % 2] if row % 2 else "", ("test", "train")[row % 3 > 0]
        has_ihc = split == "test" or not label or (classes and label == "A")
        lines.append((f"{row}", f"{row}.png", f"{row}.png" if has_ihc else "", label, split))
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


class PartlyLabelled(Synthetic):
    """A cohort in which one of `every` patches has no label; `keep` includes these patches."""

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
        return super().read(
            next(candidate for candidate in super().items() if candidate.id == item.id)
        )


def test_cohort_is_evaluated_on_its_labelled_patches(study: Study, tmp_path: Path) -> None:
    run = next(run.out for run in study.runs if run.arm.kind == "asymmetric")

    def external(name: str, source: PartlyLabelled) -> Results:
        ingest(source, tmp_path / name, split="test", progress=False, workers=1)
        out = tmp_path / f"validation-{name}"
        return validate(ValidateConfig(study=run, cohort=tmp_path / name, out=out)).external

    partly, labelled_only = (
        external("a", PartlyLabelled(keep=True)),
        external("b", PartlyLabelled(keep=False)),
    )
    assert len(Store.open(tmp_path / "a").table) == 90
    pd.testing.assert_frame_equal(partly.table, labelled_only.table, rtol=1e-4)
    assert partly.data.patches == labelled_only.data.patches == {"train": 0, "val": 0, "test": 60}
    assert partly.data.classes == labelled_only.data.classes
    with pytest.raises(DataError, match="has 'unlabelled', but the trained classes are"):
        external("c", PartlyLabelled(keep=True, every=1))
