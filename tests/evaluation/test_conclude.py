"""Floors of a study: the labels they use, and the conclusions from them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from morefromless.arms import arms, condition_of
from morefromless.config import Pairing, StudyConfig
from morefromless.data.store import Store
from morefromless.evaluation.comparisons import comparisons
from morefromless.evaluation.conclude import _curves, conclude
from morefromless.evaluation.evaluate import Evaluation
from morefromless.evaluation.floors import floor_probabilities, mean_rgb, random_forest
from morefromless.evaluation.metrics import score
from morefromless.evaluation.results import CURVE_COLUMNS, Condition, Results
from morefromless.evaluation.summaries import _mean_recall, _rises
from morefromless.probes import label_subset
from morefromless.runs import Run

ARM = Condition("symmetric", "shared", "vicreg", "full", "", "tissue")
OTHER = replace(ARM, arm="asymmetric")
SUPERVISED = Condition("supervised", "", "tissue", "full", "", "tissue")


def floor(name: str) -> Condition:
    return Condition(name, "", "", "full", "", "tissue")


def test_floors_use_the_same_labels_as_probes(tissue: Store, tmp_path: Path) -> None:
    train, test = tissue.indices("train"), tissue.indices("test")
    images, labels = np.asarray(tissue.array("he")), tissue.labels
    subsets = [train[label_subset(labels[train], 0.25, seed)] for seed in range(2)]
    assert len(subsets[0]) < len(train) / 2
    assert not np.array_equal(*subsets)
    for share, seed, rows in ((0.25, 0, subsets[0]), (0.25, 1, subsets[1]), (1.0, 0, train)):
        expected = random_forest(
            mean_rgb(images[rows]),
            labels[rows],
            mean_rgb(images[test]),
            classes=len(tissue.classes),
        )
        for _ in range(2):  # the second is loaded from the cache, and is not another floor's
            probabilities = floor_probabilities(
                "mean-rgb", tissue, "full", "tissue", share, seed, tmp_path
            )
            np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert len(list(tmp_path.glob("mean-rgb-*"))) == 3


def evaluation(store: Store, condition: Condition, share: float, seed: int = 0) -> Evaluation:
    """An evaluation that classifies this share of the test patches correctly."""
    labels = store.labels[store.indices("test")]
    correct = np.random.default_rng(seed).permutation(len(labels)) < round(share * len(labels))
    probabilities: npt.NDArray[np.float64] = np.eye(len(store.classes))[
        np.where(correct, labels, (labels + 1) % len(store.classes))
    ]
    return Evaluation(condition, seed, probabilities)


def results_of(store: Store, shares: dict[Condition, float]) -> Results:
    config = StudyConfig(store=store.path, primary=("full",), privileged="downsample:4")
    evaluations = [evaluation(store, c, share, s) for c, share in shares.items() for s in range(2)]
    return conclude(config, store, [], evaluations, ["A caveat."])


def test_arm_not_above_a_floor_gives_no_verdict(tissue: Store) -> None:
    results = results_of(
        tissue,
        {
            OTHER: 0.9,
            ARM: 0.45,
            SUPERVISED: 0.4,
            floor("majority"): 0.2,
            floor("colour-histogram"): 0.6,
            floor("random encoder"): 0.4,
        },
    )
    not_above = {s.condition.arm: s.not_above for s in results.summaries}
    assert not_above["supervised"] == "random encoder"
    assert not_above["symmetric"] == ""  # not above a colour histogram still counts as trained
    assert not_above["random encoder"] == ""  # a floor, not an arm
    verdicts = {c.name: (c.verdict, c.remark) for c in results.contrasts}
    assert verdicts["asymmetric shared - supervised"] == (
        "no verdict",
        "supervised is not above random encoder",
    )
    assert results.caveats == ["A caveat."]
    assert not results.floors_not_exceeded
    [first] = results_of(tissue, {OTHER: 0.3, ARM: 0.9, floor("majority"): 0.3}).contrasts
    assert first.remark == "asymmetric, shared is not above majority"


def test_floor_that_no_arm_exceeds_is_reported(tissue: Store) -> None:
    for condition in (ARM, floor("majority")):  # nothing is reported without the other
        assert not results_of(tissue, {condition: 0.5}).floors_not_exceeded
    for share in (0.6, 0.8):  # below the floor, and equal to it
        shares = {OTHER: share, ARM: 0.5, floor("majority"): 0.2, floor("mean-rgb"): 0.8}
        (unexceeded,) = results_of(tissue, shares).floors_not_exceeded
        assert (unexceeded.modality, unexceeded.task, unexceeded.floor, unexceeded.arm) == (
            "full",
            "tissue",
            "mean-rgb",
            "asymmetric, shared",
        )
        assert (unexceeded.floor_accuracy, unexceeded.arm_accuracy) == pytest.approx(
            (0.8, share), abs=0.02
        )


PAIRED = {
    "asymmetric - symmetric, both shared | asymmetric, shared | symmetric, shared",
    "asymmetric - symmetric, both independent | asymmetric, independent | symmetric, independent",
    "asymmetric independent - symmetric shared (the paper's headline)"
    " | asymmetric, independent | symmetric, shared",
    "trident - symmetric, both independent | trident, independent | symmetric, independent",
    "trident - asymmetric, both independent | trident, independent | asymmetric, independent",
}
SPARSE = {  # arms that do not exist on the privileged modality
    "fine-tuned: asymmetric - symmetric, both shared"
    " | fine-tuned, asymmetric, shared | fine-tuned, symmetric, shared",
    "fine-tuned: asymmetric - symmetric, both independent"
    " | fine-tuned, asymmetric, independent | fine-tuned, symmetric, independent",
    "distillation, regression - symmetric independent"
    " | distillation, regression | symmetric, independent",
    "distillation, regression - asymmetric independent"
    " | distillation, regression | asymmetric, independent",
}
TUNED = {  # fine-tuned to the labels of the first task
    "fine-tuned asymmetric shared - supervised | fine-tuned, asymmetric, shared | supervised",
    "fine-tuned asymmetric independent - supervised"
    " | fine-tuned, asymmetric, independent | supervised",
}
SUPERVISED_TOO = {
    "asymmetric shared - supervised | asymmetric, shared | supervised",
    "asymmetric independent - supervised | asymmetric, independent | supervised",
}


@pytest.mark.parametrize("both_ways", [False, True])
def test_comparisons_of_a_study_with_all_arms(both_ways: bool) -> None:
    """The comparisons of a study with all arms."""
    config = StudyConfig(
        store=Path("store"),
        primary=("downsample:4",),
        privileged="full",
        objectives=("vicreg", "simclr"),
        tasks=("tissue", "cell"),
        trident=True,
        fine_tune=True,
        distillation=("regression",),
        both_ways=both_ways,
        pairing=Pairing(teacher="resnet18"),
    )
    conditions = [
        condition_of(arm, branch, task)
        for arm in arms(config)
        for branch in arm.encoders
        for task in config.tasks
    ]
    compared: dict[tuple[str, str, str], list[str]] = {}
    for name, a, b in comparisons(conditions, config):
        assert (a.task, a.modality) == (b.task, b.modality)
        [objective] = {a.objective, b.objective} & {"vicreg", "simclr"}
        assert b.arm != "supervised" or b.objective == b.task
        lines = compared.setdefault((a.task, a.modality, objective), [])
        lines.append(f"{name} | {a.title} | {b.title}")
    expected = {}
    for objective in config.objectives:
        for task in config.tasks:
            tuned = TUNED if task == "tissue" else set()
            supervised = set() if both_ways else SUPERVISED_TOO
            expected[task, "downsample:4", objective] = PAIRED | SPARSE | tuned | supervised
            if both_ways:
                expected[task, "full", objective] = PAIRED
    assert {place: set(lines) for place, lines in compared.items()} == expected
    assert all(len(lines) == len(expected[place]) for place, lines in compared.items())
    assert not comparisons([c for c in conditions if c.arm == "trident"], config)


def test_curve_is_read_once_for_all_tasks(tmp_path: Path) -> None:
    points = {"step": [0, 5], "branch": ["primary", "privileged"], "accuracy": [0.2, 0.4]}
    pd.DataFrame(points).to_csv(tmp_path / "curve.csv", index=False)
    no_probabilities = np.empty((0, 2))
    groups = {
        condition: [Evaluation(condition, 3, no_probabilities, run="run", branch="primary")]
        for condition in (ARM, replace(ARM, task="cell"))
    }
    lines = _curves(groups, {"run": Run(tmp_path)})
    assert lines[["run", "seed", "step", "accuracy"]].to_numpy().tolist() == [["run", 3, 0, 0.2]]


def test_single_tested_class_has_an_accuracy(tissue: Store) -> None:
    other_classes = tissue.table["label"] != tissue.classes[0]
    table = tissue.table.assign(split=tissue.table["split"].mask(other_classes, None))
    single_class = Store(tissue.path, tissue.meta, table, tissue.arrays, tissue.present)
    assert results_of(single_class, {ARM: 1.0}).summaries[0].accuracies == (1, 1)


def test_untested_class_has_no_mean_recall() -> None:
    predictions = np.eye(3)[[0, 1]], np.eye(3)[[0, 0]]
    assert _mean_recall([score(prediction, [0, 1]) for prediction in predictions]) == (1, 0.5, None)


def test_curve_rises_if_its_last_quarter_is_higher() -> None:
    def curve(values: list[float]) -> pd.DataFrame:
        key = ("symmetric", "shared", "vicreg", "full", "")
        lines = [("run", *key, 0, step, value) for step, value in enumerate(values)]
        return pd.DataFrame(lines, columns=list(CURVE_COLUMNS))

    assert _rises(curve([0.1 * n for n in range(8)]), ARM) is True
    assert _rises(curve([0.5] * 8), ARM) is False
    assert _rises(curve([0.1] * 4 + [0.5] * 4), ARM) is False  # it rose earlier
    assert _rises(curve([0.5] * 6 + [0.515] * 2), ARM) is True
    assert _rises(curve([0.5] * 6 + [0.505] * 2), ARM) is False
    assert _rises(curve([0.5] * 7 + [0.53] * 4), ARM) is False  # over eleven steps, two a quarter
    lower = curve([0.5] * 6 + [0.508] * 2)
    assert _rises(pd.concat([lower, lower.assign(seed=1)]), ARM) is False  # the mean over seeds
    longer = curve([0.5] * 6 + [0.53] * 2 + [0]).assign(seed=1)
    assert _rises(pd.concat([lower, longer]), ARM) is True  # only the steps that both curves have
    assert _rises(curve([0.5] * 7), ARM) is None
    assert _rises(curve([0.5] * 8), OTHER) is None
