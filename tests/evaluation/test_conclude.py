"""Floors under a comparison: what they are told, and what is said where no arm is above them."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from morefromless.comparison.floors import FloorRow, Unbeaten, floors, not_above, unbeaten
from morefromless.options import CompareOptions

from morefromless.data.store import Store
from morefromless.evaluation.floors import forest, mean_rgb
from morefromless.evaluation.intervals import Interval
from morefromless.evaluation.probes import shown

Ints = npt.NDArray[np.int64]


def test_floors_are_told_the_labels_that_probes_are_told(
    tissue: Store, comparison: CompareOptions
) -> None:
    few = replace(comparison, labels=0.25)
    made = {one.name: one for one in floors(tissue, ["full"], "tissue", few, "cpu")}
    everything = {one.name: one for one in floors(tissue, ["full"], "tissue", comparison, "cpu")}
    train, test = tissue.indices("train"), tissue.indices("test")
    images, labels = np.asarray(tissue.array("he")), tissue.labels

    def reached(told: Ints) -> float:
        predicted = forest(
            mean_rgb(images, told),
            labels[told],
            mean_rgb(images, test),
            classes=len(tissue.classes),
        ).argmax(1)
        return float((predicted == labels[test]).mean())

    told = [train[shown(labels[train], 0.25, seed)] for seed in range(2)]
    assert len(told[0]) < len(train) / 2
    assert not np.array_equal(*told)
    assert made["mean-rgb"].accuracies == tuple(map(reached, told))
    assert everything["mean-rgb"].accuracies == (reached(train),)
    # Neither takes the other's answers from the disk.
    again = {one.name: one for one in floors(tissue, ["full"], "tissue", few, "cpu")}
    assert again["mean-rgb"] == made["mean-rgb"]


def at(value: float) -> Interval:
    return Interval(value, value - 0.1, value + 0.1, 0.95, "patch", 100, True, 1000)


def row(name: str, seen: str, value: float) -> FloorRow:
    return FloorRow(name, seen, at(value), (value,))


def test_an_arm_that_is_not_above_chance_did_not_train() -> None:
    under = [
        row("majority", "full", 0.2),
        row("colour-histogram", "full", 0.5),
        row("random encoder", "full", 0.4),
        row("majority", "nuclei", 0.6),
    ]
    assert not_above("symmetric", 0.2, "full", under) == "majority"
    assert not_above("symmetric", 0.3, "full", under) == ""  # a finding
    assert not_above("supervised", 0.3, "full", under) == "random encoder"
    assert not_above("supervised", 0.45, "full", under) == ""
    assert not_above("supervised", 0.45, "nuclei", under) == "majority"


def test_where_no_arm_is_above_a_floor_it_is_said() -> None:
    under = [
        row("majority", "full", 0.2),
        row("mean-rgb", "full", 0.7),
        row("majority", "downsample:7", 0.2),
        row("mean-rgb", "downsample:7", 0.9),
    ]
    reached = [
        ("full", "one", at(0.71)),
        ("full", "other", at(0.5)),
        ("downsample:7", "one", at(0.6)),
        ("downsample:7", "other", at(0.9)),
    ]
    (found,) = unbeaten(under, reached, "cell")
    assert found == Unbeaten("downsample:7", "mean-rgb", 0.9, "other", 0.9, "cell")
    assert found.sentence.startswith(
        "No arm on downsample:7, task cell is above the floor mean-rgb (90.0 %); the best is other "
        "(90.0 %)."
    )
    assert unbeaten(under[:3], reached) == []
