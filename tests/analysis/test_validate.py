"""A study, and one of its runs, evaluated on another cohort."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from msgspec import structs

from morefromless.analysis.explain import explain
from morefromless.analysis.represent import represent
from morefromless.analysis.validate import (
    Validation,
    _caveats,
    _shifts,
    _study,
    leakage_warnings,
    validate,
)
from morefromless.cli import run
from morefromless.config import (
    ExplainConfig,
    Machine,
    Pairing,
    Probe,
    RepresentConfig,
    StudyConfig,
    Train,
    ValidateConfig,
)
from morefromless.data.labels import UNLABELLED
from morefromless.data.splits import Split
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.cohort import Cohort, SharedTask
from morefromless.evaluation.evaluate import evaluate_encoder
from morefromless.evaluation.floors import mean_rgb, random_forest
from morefromless.evaluation.loading import load_encoders
from morefromless.evaluation.results import Results
from morefromless.evaluation.shift import feature_distances
from morefromless.inference.inputs import open_inputs
from morefromless.ingest import ingest
from morefromless.report import validation
from morefromless.runs import Run
from morefromless.sources import Datasheet, Item, Source
from morefromless.sources.synthetic import Synthetic
from morefromless.study import Study, compare
from morefromless.tasks.tissue import Tissue
from tests.data.test_near_duplicates import Pixels, as_jpeg
from tests.data.test_near_duplicates import tissue as drawn_tissue
from tests.ingest.samples import Counting
from tests.ingest.test_checks import write
from tests.test_files import refuse_to_write


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("stores") / "elsewhere"
    source = Synthetic(patches=90, patients=9, size=40, seed=7)
    return ingest(source, path, split="test", progress=False, workers=1).store


@pytest.fixture(scope="module")
def folder(study: Study, results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved study that was moved after training."""
    path = tmp_path_factory.mktemp("moved") / "study"
    shutil.copytree(study.config.out, path)
    results.save(path)
    return path


@pytest.fixture(scope="module")
def result(folder: Path, cohort: Store) -> Validation:
    return validate(ValidateConfig(study=folder, cohort=cohort.path, device="cpu"))


def test_internal_results_equal_those_of_the_study(result: Validation, results: Results) -> None:
    assert [s.accuracies for s in result.internal.summaries] == [
        s.accuracies for s in results.summaries
    ]
    assert [c.difference for c in result.internal.contrasts] == [
        c.difference for c in results.contrasts
    ]


def test_copies_and_near_duplicates_of_training_patches_are_counted(tmp_path: Path) -> None:
    images = drawn_tissue(24)
    for split, rows in {"train": range(12), "test": range(12, 18)}.items():
        for number in rows:
            write(
                images[number : number + 1], tmp_path / f"here/{split}/{'AB'[number % 2]}/{number}"
            )
    write(images[18:], tmp_path / "there/A")
    write(np.stack([images[3], as_jpeg(images[5]), as_jpeg(images[14])]), tmp_path / "there/B")
    training_store = ingest(str(tmp_path / "here"), tmp_path / "a", progress=False).store
    cohort_store = ingest(
        str(tmp_path / "there"), tmp_path / "b", split="test", progress=False
    ).store
    copies, near_duplicates = leakage_warnings(training_store, cohort_store)
    assert copies.startswith("1 patches of the cohort have the same pixels")
    assert near_duplicates.startswith("1 further patches of the cohort look like")
    assert not leakage_warnings(cohort_store, training_store)  # the cohort has no training patches


def test_groups_shared_with_training_are_counted(tissue: Store, cohort: Store) -> None:
    training_groups, cohort_groups = (
        set(s.groups(side)) for s, side in ((tissue, "train"), (cohort, "test"))
    )
    warning = leakage_warnings(tissue, cohort)[-1]
    assert warning.startswith(
        f"{len(training_groups & cohort_groups)} groups (patients or slides) of the cohort have"
    )


def test_external_results_are_those_of_the_same_probes(
    result: Validation, study: Study, cohort: Store
) -> None:
    labels = cohort.table["label"].to_numpy()
    table = result.external.table
    distances: dict[str, list[list[float]]] = {}
    for options in study.runs:
        for name, frozen in load_encoders(Run(options.out)).items():
            if name != "primary":
                continue
            fitted = evaluate_encoder(
                frozen, study.store, study.config.probe, "tissue", options.seed
            ).probe
            features = frozen.represent(cohort, np.arange(len(labels))).double().numpy()
            logits = features @ fitted.weight.double().numpy().T + fitted.bias.double().numpy()
            correct = np.array(study.store.classes)[logits.argmax(1)] == labels
            rows = table[(table["run"] == options.out.name) & (table["metric"] == "accuracy")]
            value = rows[rows["modality"] == options.arm.primary]["value"].item()
            assert value == pytest.approx(correct.mean(), abs=1.5 / len(labels))
            train, test = (frozen.features(study.store, split) for split in ("train", "test"))
            pair = feature_distances(train, test, features)
            distances.setdefault(options.arm.kind, []).append(pair)
            assert list(
                (result.out / "cache" / options.out.name).iterdir()
            )  # not in the run's folder
    shifts = {s.condition.arm: s for s in result.shifts if s.condition.modality != "full"}
    for arm, pairs in distances.items():
        shift = shifts[arm]
        assert (shift.internal, shift.external) == pytest.approx(np.mean(pairs, 0), rel=1e-4)


def test_floors_are_fitted_to_the_training_patches(
    result: Validation, tissue: Store, cohort: Store
) -> None:
    train = tissue.indices("train")
    probabilities = random_forest(
        mean_rgb(tissue.array("he")[train]),
        tissue.labels[train],
        mean_rgb(np.asarray(cohort.array("he"))),
        classes=len(tissue.classes),
    )
    correct = np.array(tissue.classes)[probabilities.argmax(1)] == cohort.table["label"].to_numpy()
    floor = next(
        s
        for s in result.external.summaries
        if (s.condition.arm, s.condition.modality) == ("mean-rgb", "full")
    )
    assert floor.accuracies == (pytest.approx(correct.mean()),)


def test_intervals_are_over_the_patients_of_the_cohort(result: Validation) -> None:
    summary = result.external.summaries[0]
    assert (summary.accuracy.unit, summary.accuracy.units) == ("group", 9)
    assert result.external.data.patches == {"train": 0, "val": 0, "test": 90}
    assert result.external.caveats[1:-1] == [
        "The cohort's patches are 40 px at 2.8 µm/px, and the training patches are 32 px at "
        "3.5 µm/px."
    ]


def test_tables_list_internal_and_external_results(result: Validation, tmp_path: Path) -> None:
    paths = validation.write(replace(result, out=tmp_path))
    assert {path.name for path in paths} >= {"validation.md", "validation.csv", "results.json"}
    page = (tmp_path / "validation.md").read_text()
    assert "accuracy, internal | accuracy, external" in page
    assert "points, internal" in page
    assert all(shift.internal > 0 and shift.external > 0 for shift in result.shifts)
    assert len(result.shifts) == 4  # asymmetric has two branches
    assert Results.load(tmp_path).data.title == result.external.data.title


def test_command_evaluates_one_run(
    folder: Path, study: Study, cohort: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_name = next(o.out.name for o in study.runs if o.arm.kind == "symmetric")
    arguments = [
        "validate",
        str(folder / "runs" / run_name),
        str(cohort.path),
        "--out",
        str(tmp_path / "v"),
    ]
    first, second, *other_classes = study.store.classes
    arguments += ["--classes", f"{first}=both", f"{second}=both"]
    arguments += ["--store", str(study.store.path), "--probe-epochs", "20", "--labels", "0.5"]
    assert run(arguments) == 0
    output = capsys.readouterr().out
    assert "symmetric, shared" in output
    assert "for one seed, with the 95 % bootstrap interval in brackets" in output
    assert "Probes and floors use 50 % of the training labels" in output
    assert "a task's labels are evaluated on that task with their own heads" in output
    assert not (tmp_path / "v" / "curves.csv").exists()  # curves are of the internal patches
    external = Results.load(tmp_path / "v")
    assert list(external.data.classes["tissue"]) == ["both", *other_classes]
    assert len(external.summaries[0].recall) == len(other_classes) + 1
    assert external.config.seeds == 1
    table = external.table
    assert set(table["run"]) == {"", run_name}
    assert set(table["modality"]) == {"downsample:4"}  # floors exist only for this modality


def test_invalid_options_are_refused(
    folder: Path, study: Study, cohort: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ValidateConfig(study=folder, cohort=cohort.path, device="cpu", out=tmp_path / "out")
    with pytest.raises(DataError, match=r"is the store that .* was trained on; give another"):
        validate(replace(config, cohort=study.store.path))
    with pytest.raises(DataError, match="no class 'nothing'"):
        validate(replace(config, classes=("nothing=x",)))
    first, second, *_ = study.store.classes  # the cohort's `second` could be either of the two
    with pytest.raises(ConfigError, match="could be either; ingest the cohort"):
        validate(replace(config, classes=(f"{first}={second}", f"{second}={first}")))
    all_classes = "+".join(study.store.classes)
    with pytest.raises(ConfigError, match="keeps fewer than two classes of task tissue"):
        validate(replace(config, classes=(f"{all_classes}=tissue",)))
    with pytest.raises(ConfigError, match="contains no results"):
        validate(replace(config, study=tmp_path))
    with pytest.raises(ConfigError, match="--probe is for a single run"):
        validate(replace(config, probe=Probe(probe="ridge")))
    assert not (tmp_path / "out").exists()
    trained = str(study.runs[0].out)
    assert run(["probe", trained, "--store", str(cohort.path)]) == 2
    assert f"use mfl validate {trained} {cohort.path}" in capsys.readouterr().err


def test_read_only_study_is_refused_immediately(
    folder: Path, cohort: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_write(monkeypatch)
    config = ValidateConfig(study=folder, cohort=cohort.path, device="cpu")
    with pytest.raises(ConfigError, match=f"{folder}/.* cannot be written to .* with --out"):
        validate(config)
    with pytest.raises(ConfigError, match=f"{folder}/.* cannot be written to .* with --out"):
        represent(RepresentConfig(study=folder))


def test_a_cohort_of_other_classes_or_channels_is_refused(
    folder: Path, study: Study, tmp_path: Path
) -> None:
    class Grey(Counting):
        def items(self) -> list[Item]:
            classes = study.store.classes
            return [
                replace(item, label=classes[number % len(classes)])
                for number, item in enumerate(super().items())
            ]

        def read(self, item: Item) -> dict[str, Pixels]:
            return {"he": super().read(item)["he"][..., :1]}

    side, log = study.store.side, tmp_path / "log"
    other_cohort = ingest(
        Counting(log, 24, side), tmp_path / "a", split="test", progress=False
    ).store
    grey = ingest(Grey(log, 24, side), tmp_path / "b", split="test", progress=False).store
    config = ValidateConfig(study=folder, cohort=other_cohort.path, device="cpu")
    with pytest.raises(DataError, match=r"a has 'A', 'B', but the trained classes .*; ingest it"):
        validate(config)
    with pytest.raises(ConfigError, match=r"'he' of .*b is not 8-bit RGB"):
        validate(replace(config, cohort=grey.path))


def test_missing_classes_and_scale_are_stated(study: Study, cohort: Store, tmp_path: Path) -> None:
    first, *other_classes = study.store.classes

    def cohort_of(classes: list[str]) -> Store:
        table = cohort.table.assign(
            split=cohort.table["split"].where(cohort.table["label"].isin(classes), None)
        )
        meta = structs.replace(cohort.meta, um_per_px=None)
        return Store(cohort.path, meta, table, cohort.arrays, cohort.present)

    task = SharedTask(Tissue(), [*other_classes, first])
    _, missing, scale, *_ = _caveats(study, cohort_of(other_classes[:1]), {"tissue": task})
    assert missing.startswith(
        f"Task tissue: the cohort has no patch of {', '.join(other_classes[1:])}, "
    )
    assert f"{first}; every prediction of such a class is wrong" in missing
    assert "are 40 px at an unknown scale, and" in scale
    assert not list(_shifts(study, Cohort(cohort_of([]), tmp_path, {})))


def test_run_of_the_whole_patch_is_a_study(study: Study, tmp_path: Path) -> None:
    run_folder = next(o.out for o in study.runs if o.arm.kind == "supervised")
    path = Path(shutil.copytree(run_folder, tmp_path / "run"))
    record = json.loads((path / "run.json").read_text())
    record["options"] |= {"primary": "full", "privileged": "full", "task": "cell"}
    (path / "run.json").write_text(json.dumps(record))
    single = _study(ValidateConfig(study=path, cohort=path, store=study.store.path))
    assert (single.modalities, single.config.tasks) == (("full",), ("cell",))
    assert [run.arm.primary for run in single.runs] == ["full"]


@pytest.mark.parametrize("file", ["weights", "run.json", "results.json"])
def test_custom_class_is_imported_only_with_trust(
    file: str, folder: Path, study: Study, cohort: Store, tmp_path: Path
) -> None:
    outside = "nowhere.to_be_found:Y"
    trained, store = Path(shutil.copytree(folder, tmp_path / "study")), study.store.path
    run, other_run, *_ = (Run(trained / "runs" / options.out.name) for options in study.runs)
    if file == "weights":
        encoder = json.loads(run.encoder_path.read_text())
        encoder["branches"]["primary"]["encoder"] = outside
        run.finish(run.weights(), {}, encoder)
    else:
        path, key, value = {
            "run.json": (run.record_path, "options", outside),
            "results.json": (trained / file, "config", [outside]),
        }[file]
        content = json.loads(path.read_text())
        content[key]["primary"] = value
        path.write_text(json.dumps(content))
    for trust, message in ((False, "give --trust"), (True, "cannot be imported")):
        calls: list[Callable[[], object]] = []
        options: dict[str, Any] = {"store": store, "trust": trust}
        if file != "results.json":
            run_options = {"study": run.path, "cohort": cohort.path, **options}
            calls.append(partial(validate, ValidateConfig(**run_options)))
        if file == "weights":
            for a, b in ((run, other_run), (other_run, run)):
                pair_options = {"run_a": a.path, "run_b": b.path, **options}
                calls.append(partial(explain, ExplainConfig(**pair_options)))
        if file != "run.json":
            study_options = {"study": trained, "cohort": cohort.path, **options}
            calls.append(partial(validate, ValidateConfig(**study_options)))
            calls.append(partial(represent, RepresentConfig(study=trained, **options)))
        for call in calls:
            with pytest.raises(ConfigError, match=message):
                call()


class Spots(Source):
    """Twelve patches of two classes, with expression of the named genes, if any."""

    def __init__(self, seed: int, genes: tuple[str, ...]) -> None:
        self.seed, self.genes = seed, genes

    def datasheet(self) -> Datasheet:
        return Datasheet(f"Spots {self.seed}", channels={"expression": self.genes})

    def items(self) -> list[Item]:
        splits: list[Split] = ["train", "train", "test"]
        return [Item(f"{n}", "AB"[n % 2], f"{n}", splits[n % 3]) for n in range(24)]

    def read(self, item: Item) -> dict[str, npt.NDArray[Any]]:
        rng = np.random.default_rng([self.seed, int(item.id)])
        arrays = {"he": rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)}
        expression = {"expression": rng.random(len(self.genes), dtype=np.float32)}
        return arrays | (expression if self.genes else {})


def test_cohort_needs_only_the_routine_view(tmp_path: Path) -> None:
    genes = [("G1", "G2", "G3"), ("G3", "G2", "G1"), ("H1", "G2", "G3"), ()]
    first, reordered, other_genes, routine = (
        ingest(Spots(seed, names), tmp_path / f"{seed}", progress=False).store
        for seed, names in enumerate(genes)
    )
    config = StudyConfig(
        store=first.path,
        out=tmp_path / "study",
        primary=("full",),
        privileged="vector:3",
        sharing=("independent",),
        seeds=1,
        train=Train(size=16, encoder="tests.outside.additions:Pooled", epochs=1, batch=4),
        pairing=Pairing(width=8, privileged_encoder="mlp:4"),
        machine=Machine(device="cpu"),
        jobs=1,
    )
    results = compare(config)
    assert config.out
    results.save(config.out)
    assert {"full", "vector:3"} == {s.condition.modality for s in results.summaries}
    validation_config = ValidateConfig(
        study=config.out, cohort=routine.path, device="cpu", trust=True
    )
    reasons = {
        routine.path: "has no array 'expression'",
        reordered.path: "has them in another order",
        other_genes.path: "does not have 1 of them, such as G1",
    }
    for path, reason in reasons.items():
        external = validate(replace(validation_config, cohort=path)).external
        assert {s.condition.modality for s in external.summaries} == {"full"}
        (caveat,) = [c for c in external.caveats if "Encoders of vector:3 are not evaluated" in c]
        assert reason in caveat
    runs = (Run(run.out) for run in Study.of(config, first).runs if run.arm.kind == "asymmetric")
    frozen = load_encoders(next(runs))["privileged"]
    assert open_inputs([first.path], frozen)
    for store in (reordered, other_genes):
        with pytest.raises(DataError, match="'expression' had 3 named values in training"):
            open_inputs([store.path], frozen)
        with pytest.raises(DataError, match="'expression' had 3 named values in training"):
            frozen.features(store, "test")


def test_questions_without_classes_are_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Unknown(Spots):
        def items(self) -> list[Item]:
            return [replace(item, label=UNLABELLED) for item in super().items()]

    store = ingest(Unknown(0, ("G1", "G2")), tmp_path / "store", progress=False).store
    options = ["--size", "16", "--width", "8", "--batch", "4", "--epochs", "1", "--device", "cpu"]
    pair = ["--primary", "full", "--privileged", "vector:2", "--privileged-encoder", "mlp:4"]
    out = str(tmp_path / "run")
    assert (
        run(["train", str(store.path), "--out", out, *options, *pair, "--encoder", "test_resnet"])
        == 0
    )
    capsys.readouterr()
    assert run(["probe", out, "--questions", "expression", "--device", "cpu"]) == 0
    assert "Pearson's correlation" in capsys.readouterr().out
    assert run(["probe", out, "--device", "cpu"]) == 2
