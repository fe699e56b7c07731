"""The comparison from end to end, on a few patches: what is written, and what is not done twice."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from morefromless.comparison.compare import compare
from morefromless.comparison.plan import plan
from morefromless.errors import ConfigError
from morefromless.evaluation.paired import holm
from morefromless.options import CompareOptions
from morefromless.report.figures import write_figures
from morefromless.report.table import report


def test_the_plan_has_every_arm_once(comparison: CompareOptions) -> None:
    planned = plan(replace(comparison, primary=("downsample:4", "downsample:8")), "hash")
    assert len(planned) == 2 * 2 * 5  # primaries, seeds, arms
    assert len({one.options.out for one in planned}) == len(planned)
    kinds = [(p.arm.kind, p.arm.sharing) for p in planned if p.seed == 0]
    assert sorted(set(kinds), key=str) == sorted(
        [(k, s) for k in ("asymmetric", "symmetric") for s in ("shared", "independent")]
        + [("supervised", None)],
        key=str,
    )


def test_seeds_come_first_so_that_an_early_look_has_every_arm(comparison: CompareOptions) -> None:
    assert [one.seed for one in plan(comparison, "hash")] == [0] * 5 + [1] * 5


def test_a_symmetric_run_does_not_depend_on_the_privileged_modality(
    comparison: CompareOptions,
) -> None:
    one, other = (
        {p.options.out.name for p in plan(replace(comparison, privileged=privileged), "hash")}
        for privileged in ("full", "downsample:16")
    )
    assert len(one & other) == 6  # symmetric and supervised runs serve both comparisons
    assert all("asymmetric" in name for name in one ^ other)


def test_dense_arms_are_planned_when_asked(comparison: CompareOptions) -> None:
    planned = plan(replace(comparison, dense_arms=True), "hash")
    dense = {(p.arm.kind, p.arm.sharing) for p in planned if p.arm.primary == "full"}
    assert dense == {("symmetric", "shared"), ("symmetric", "independent"), ("supervised", None)}


def test_primary_and_privileged_must_differ(comparison: CompareOptions) -> None:
    with pytest.raises(ConfigError, match="both --primary and --privileged"):
        replace(comparison, primary=("full",))


def test_from_end_to_end(comparison: CompareOptions, capsys: pytest.CaptureFixture[str]) -> None:
    options = replace(comparison, epochs=8, probe_every=4)
    made = compare(options)
    out = options.out
    written = [*report(made).write(out, "comparison"), *write_figures(made, out)]
    assert {p.name for p in written} == {
        "comparison.md",
        "comparison.csv",
        "comparison.json",
        *(f"{stem}.{kind}" for stem in ("density", "curves") for kind in ("svg", "pdf", "png")),
    }
    assert all(path.stat().st_size > 500 for path in written)

    # Every branch on its own modality: five arms of the primary, two of the privileged.
    assert [row.branch for row in made.rows] == ["primary"] * 5 + ["privileged"] * 2
    lines = pd.read_csv(out / "comparison.csv")
    assert len(lines) == 7 * 2
    for row in made.rows:
        assert row.accuracy.estimate == pytest.approx(np.mean(row.accuracies))
        assert row.accuracy.low <= row.accuracy.estimate <= row.accuracy.high
        assert row.accuracy.unit == "group"  # patients are known here
        assert np.sum(row.confusion) == 2 * made.patches["test"]
    assert len(made.contrasts) == 5
    assert [c.holm_p for c in made.contrasts] == holm([c.p for c in made.contrasts])
    assert {floor.name for floor in made.floors} == {
        "majority",
        "mean-rgb",
        "colour-histogram",
        "random encoder",
    }

    # What stands in the table is what stands on the disk.
    arm = made.planned[0]
    found = np.load(arm.run.path / "predictions-primary-linear.npz")
    kept = json.loads((arm.run.path / "scores-primary-linear.json").read_text())
    assert kept["scores"]["accuracy"] == made.rows[0].accuracies[0]
    assert len(found["probabilities"]) == made.patches["test"]

    # Again: nothing is trained or probed twice, and the table is the same.
    times = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*") if path.is_file()}
    capsys.readouterr()
    again = compare(options)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert again.rows == made.rows
    assert again.contrasts == made.contrasts


def test_runs_side_by_side_are_the_same_as_one_by_one(
    comparison: CompareOptions, tmp_path: Path
) -> None:
    options = replace(comparison, epochs=1, seeds=1, sharing=("shared",))
    alone = compare(replace(options, out=tmp_path / "alone"))
    together = compare(replace(options, out=tmp_path / "together", jobs=2))
    for a, b in zip(alone.planned, together.planned, strict=True):
        assert a.run.path.name == b.run.path.name
        assert a.run.weights_path.read_bytes() == b.run.weights_path.read_bytes()
    assert [row.accuracies for row in alone.rows] == [row.accuracies for row in together.rows]


def test_trident_is_an_arm_of_three_branches(comparison: CompareOptions) -> None:
    options = replace(comparison, seeds=1, sharing=("independent",), trident=True, epochs=1)
    planned = plan(options, "hash")
    assert [one.arm.title for one in planned] == [
        "asymmetric, independent",
        "symmetric, independent",
        "trident, independent",
        "supervised",
    ]
    made = compare(options)
    trident = [row for row in made.rows if row.arm.kind == "trident"]
    assert [row.branch for row in trident] == ["primary", "privileged"]  # no twin of its own
    asked = [contrast.name for contrast in made.contrasts]
    assert "trident - symmetric, both independent" in asked
    assert "trident - asymmetric, both independent" in asked
    run = next(one.run for one in made.planned if one.arm.kind == "trident")
    weights = load_file(run.weights_path)
    assert {name.split(".")[2] for name in weights} == {"primary", "privileged"}
    assert write_figures(made, options.out)
