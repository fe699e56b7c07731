"""The tables of a study, from handmade results."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pandas as pd
import pytest

from morefromless.analysis.validate import Shift, Validation
from morefromless.evaluation.results import FloorNotExceeded
from morefromless.report import tables, validation
from morefromless.report.notes import notes
from morefromless.report.section import Section
from tests.report.handmade import HOSTILE, SPEC, results, two_partners


def test_each_arm_has_a_line_with_metrics_and_seeds() -> None:
    arms, contrasts = tables.report(results()).sections
    assert arms.header == ("arm", "accuracy", "balanced", "macro-F1", "ECE", "seeds", "curve")
    assert arms.rows[0] == (
        "asymmetric, shared",
        "79.0 [77.0, 81.0]",
        "78.0",
        "77.0",
        "0.125",
        "78.0 80.0",
        "",
    )
    assert [row[0] for row in arms.rows] == [
        "asymmetric, shared",
        "symmetric, shared",
        "supervised",
        "floor: majority",
        "floor: random encoder",
    ]
    assert contrasts.rows == [
        ("asymmetric - symmetric, both shared", "+8.0 [+7.0, +9.0]", "< 0.001", "better")
    ]


def test_added_metric_is_a_column_and_saved(tmp_path: Path) -> None:
    with_metric = results(top_3=0.9123)
    [header, *_] = [section.header for section in tables.report(with_metric).sections]
    assert header[5] == "top 3"
    markdown, *_ = tables.write(with_metric, tmp_path)
    assert "| top 3 |" in markdown.read_text()
    assert "| 91.2 |" in markdown.read_text()


def test_several_tasks_are_a_grid() -> None:
    [arms, supervised, floors, contrasts] = tables.report(results(("tissue", "cell"))).sections
    assert [row[0] for row in arms.rows] == [f"tissue: {SPEC}", f"cell: {SPEC}"]
    assert arms.header[1:] == ("asymmetric, shared", "symmetric, shared")
    assert [row[1].split()[0] for row in arms.rows] == ["79.0", "79.0"]
    assert supervised.header[1:] == ("supervised on tissue", "supervised on cell")
    assert floors.header[1:] == ("majority", "random encoder")
    assert [row[0] for row in contrasts.rows] == [
        f"{task}: {SPEC}, vicreg: asymmetric - symmetric, both shared"
        for task in ("tissue", "cell")
    ]


def test_encoders_with_other_partners_have_separate_columns() -> None:
    arms = tables.report(two_partners(results(("tissue", "cell")))).sections[0]
    whole_patch_row = dict(zip(arms.header, arms.rows[2], strict=True))
    assert whole_patch_row["task: modality"] == "tissue: full"
    for partner, score in ((SPEC, "82.0"), ("downsample:14", "92.0")):
        assert whole_patch_row[f"asymmetric, shared, with {partner}"].startswith(score)
    assert dict(zip(arms.header, arms.rows[0], strict=True))["asymmetric, shared"]


def test_untrained_and_rising_arms_are_named() -> None:
    plain = results()
    first, *rest = plain.summaries
    untrained = replace(first, not_above="majority", rising=True)
    floor = FloorNotExceeded(SPEC, "tissue", "majority", 0.5, "supervised", 0.4)
    changed = replace(plain, summaries=[untrained, *rest], floors_not_exceeded=[floor])
    arms = tables.report(changed).sections[0]
    assert arms.rows[0][0] == "asymmetric, shared (not above majority)"
    assert arms.rows[0][-1] == "rising"
    text = " ".join(notes(changed))
    assert f"asymmetric, shared on {SPEC} (majority)" in text
    assert "(50.0 %); the best is supervised (40.0 %)" in text

    two_tasks = results(("tissue", "cell"))
    untrained_on_both = [
        replace(s, not_above="majority") for s in two_tasks.summaries if s.condition.trained
    ]
    text = " ".join(notes(replace(two_tasks, summaries=untrained_on_both)))
    for task in ("tissue", "cell"):
        assert text.count(f"asymmetric, shared on {SPEC}, task {task} (majority)") == 1


def test_validation_rows_have_unique_names(tmp_path: Path) -> None:
    study = results(("tissue", "cell"), brier=0.3)
    conditions = dict.fromkeys(
        replace(s.condition, task="") for s in study.select(lambda c: c.trained)
    )
    shifts = [Shift(condition, 1.0, 2.0) for condition in conditions]
    *_, distances, _ = validation.report(Validation(study, study, shifts, tmp_path)).sections
    assert [row[0] for row in distances.rows] == [
        f"asymmetric, shared on {SPEC}",
        f"symmetric, shared on {SPEC}",
        f"supervised on tissue on {SPEC}",
        f"supervised on cell on {SPEC}",
    ]
    changed = replace(study, config=replace(study.config, objectives=("vicreg", "simclr")))
    first, *_ = validation.report(Validation(changed, changed, [], tmp_path)).sections
    assert [row[0] for row in first.rows] == [
        "vicreg asymmetric, shared",
        "vicreg symmetric, shared",
        "supervised on tissue",
        "floor: majority",
        "floor: random encoder",
    ]


def test_the_terminal_has_the_same_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    tables.report(results()).show()
    text = capsys.readouterr().out
    assert "79.0 [77.0, 81.0]" in text
    assert "+8.0 [+7.0, +9.0]" in text


def test_numbers_for_other_programs_and_tables_for_latex(tmp_path: Path) -> None:
    _, latex, summary, contrasts = tables.write(results(), tmp_path)
    text = latex.read_text()
    assert text.count("\\toprule") == text.count("\\bottomrule") == 2
    assert "asymmetric, shared & 79.0 [77.0, 81.0] & 78.0" in text
    rows = pd.read_csv(summary).query("arm == 'asymmetric' and metric == 'accuracy'")
    assert rows[["mean", "low", "high", "seeds"]].values.tolist() == [
        [pytest.approx(0.79), pytest.approx(0.77), pytest.approx(0.81), 2]
    ]
    [line] = pd.read_csv(contrasts)[["difference", "low", "high", "holm_p"]].values.tolist()
    assert line == [pytest.approx(v) for v in (0.08, 0.07, 0.09, 0.0004)]


@pytest.mark.parametrize("name", [HOSTILE, "a_b & 50 % $x^2$ \\input{x}", "x" * 60])
def test_names_are_not_latex_commands(name: str) -> None:
    text = Section(name, ("of", name), [(name, "−1 ×")]).latex()
    assert "\\input" not in text
    body = text.replace("\\&", "").replace("\\%", "")
    assert body.count("&") == 2  # only between cells
    assert "%" not in body


def test_arms_with_few_points_are_not_reported_as_finished() -> None:
    plain = results()
    not_rising = [
        replace(s, rising=None if s.condition.arm == "supervised" else False)
        for s in plain.summaries
    ]
    point = pd.DataFrame({"step": [10], "accuracy": [0.5]})
    [note] = [
        n for n in notes(replace(plain, summaries=not_rising, curves=point)) if "8 points" in n
    ]
    assert f"fewer than 8 points: supervised on {SPEC}. Use" in note


def test_few_labels_apply_only_to_probes() -> None:
    """A supervised arm has all labels, which the table alone would not show."""
    plain = results()
    few_labels = replace(plain.config, probe=replace(plain.config.probe, labels=0.05))
    lines = notes(replace(plain, config=few_labels))
    assert "linear probe." in lines[0]
    assert any(
        "5 % of the training labels, drawn by seed within each class, at least" in n for n in lines
    )
    assert "equal numbers of labels" not in " ".join(lines)
    supervised = [replace(s, head=s.condition.arm == "supervised") for s in plain.summaries]
    lines = notes(replace(plain, config=few_labels, summaries=supervised))
    assert any("do not compare equal numbers of labels" in note for note in lines)
    assert "of the training labels" not in " ".join(notes(plain))


def test_notes_state_what_intervals_include() -> None:
    plain = results()
    assert any(note.endswith("over 30 groups and seeds.") for note in notes(plain))
    one_seed = [
        replace(s, intervals={"accuracy": replace(s.accuracy, includes_seeds=False)})
        for s in plain.summaries
    ]
    mixed = replace(plain, summaries=[*plain.summaries[:2], *one_seed[2:]])
    expected = "over 30 groups and seeds; with only one seed, over groups alone."
    assert any(note.endswith(expected) for note in notes(mixed))
    expected = "over 30 groups; it does not include variation between seeds."
    assert any(note.endswith(expected) for note in notes(replace(plain, summaries=one_seed)))


def test_encoders_with_own_heads_are_marked_for_one_task() -> None:
    plain = results()
    heads = [replace(s, head=s.condition.arm == "supervised") for s in plain.summaries]
    content = tables.report(replace(plain, summaries=heads))
    rows = {row[0]: row[1] for row in content.sections[0].rows}
    assert [name for name, cell in rows.items() if cell.endswith(" *")] == ["supervised"]
    assert "* evaluated with the encoder's own head; all others with a probe." in content.notes
    assert not any("own head" in note for note in tables.report(plain).notes)


def test_teacher_is_explained_as_a_reference() -> None:
    plain = results()
    teacher = replace(plain.summaries[0].condition, arm="reference", encoder="resnet18 at 224 px")
    with_teacher = [*plain.summaries, replace(plain.summaries[0], condition=teacher)]
    lines = notes(replace(plain, summaries=with_teacher))  # of --distillation, without --references
    assert any(note.startswith("References are published encoders and teachers") for note in lines)
    assert not any(note.startswith("References") for note in notes(plain))


def test_students_are_evaluated_with_the_probe_of_the_study() -> None:
    plain = results()
    student = replace(plain.summaries[0].condition, arm="distillation", objective="regression")
    config = replace(
        plain.config,
        tasks=("tissue", "cell"),
        probe=replace(plain.config.probe, probe="knn:20"),
    )
    rows = [replace(plain.summaries[0], condition=student), *plain.summaries[1:]]
    content = tables.report(replace(plain, config=config, summaries=rows))
    titles = [section.title for section in content.sections]
    assert "Students of a frozen teacher, knn-20 probe" in titles


def test_one_seed_is_not_a_range() -> None:
    one_seed = replace(results(), config=replace(results().config, seeds=1))
    assert "seed 0;" in notes(one_seed)[0]
    assert "seeds 0-1;" in notes(results())[0]


def test_few_points_of_a_curve_are_reported() -> None:
    assert any("No learning curves were recorded" in note for note in notes(results()))
    point = pd.DataFrame({"step": [10], "accuracy": [0.5]})
    lines = notes(replace(results(), curves=point))
    assert any("fewer than 8 points" in note for note in lines)
    assert not any("No learning curves were recorded" in note for note in lines)


def test_each_cohort_has_its_own_units() -> None:
    internal = results()
    by_patch = [
        replace(s, intervals={"accuracy": replace(s.accuracy, unit="patch")})
        for s in internal.summaries
    ]
    external = replace(
        internal, summaries=by_patch, data=replace(internal.data, groups=1, title="Other")
    )
    result = SimpleNamespace(internal=internal, external=external)
    lines = validation._notes(cast(Validation, result))
    assert "External: 1,200 test patches of Other, 1 group." in lines
    assert any("over seeds and test groups or patches." in note for note in lines)
