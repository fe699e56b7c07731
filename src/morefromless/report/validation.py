"""Tables of an external validation, with both cohorts side by side."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from morefromless import files
from morefromless.analysis.validate import Validation
from morefromless.evaluation.results import COLUMNS, Condition, Contrast, Results, Summary
from morefromless.report.folders import VALIDATION_FILE
from morefromless.report.notes import (
    TESTS,
    accuracy_note,
    floor_notes,
    label_share_note,
    unit_names,
)
from morefromless.report.section import Report, Section, interval, p_value, unreliable_note
from morefromless.report.words import count, metric_title, metric_value

SIDES = ("internal", "external")
EXTRA_METRICS = ("balanced_accuracy", "ece", "brier")
"""Metrics shown in addition to accuracy; `validation.csv` has all."""


def write(result: Validation) -> list[Path]:
    """Write `validation.md`, `validation.csv`, and the external results (`Results.save`)."""
    tables = [
        side.table.assign(cohort=name)
        for name, side in zip(SIDES, (result.internal, result.external), strict=True)
    ]
    distances = [
        {
            **vars(shift.condition),
            "metric": "feature_distance",
            "value": getattr(shift, side),
            "cohort": side,
        }
        for shift in result.shifts
        for side in SIDES
    ]
    shifts = pd.DataFrame(distances, columns=[*COLUMNS, "cohort"]).fillna("")
    path = result.out / "validation.csv"
    files.write_csv(path, pd.concat([*tables, shifts], ignore_index=True))
    return [
        report(result).write(result.out / VALIDATION_FILE),
        path,
        *result.external.save(result.out),
    ]


def report(result: Validation) -> Report:
    """The tables and their notes as a report."""
    title = f"Validation of {result.internal.data.title} on {result.external.data.title}"
    sections = [*_scores(result), _shifts(result)]
    if result.internal.contrasts:
        sections.append(_contrasts(result))
    return Report(title, sections, [*unreliable_note(sections), *_notes(result)])


def _scores(result: Validation) -> Iterator[Section]:
    """One table per task and modality: arms first, then floors."""
    internal, external = _by_condition(result.internal), _by_condition(result.external)
    for task, spec in dict.fromkeys((c.task, c.modality) for c in external if not c.floor):
        rows = []
        for condition in external:
            if (condition.task, condition.modality) != (task, spec) or condition not in internal:
                continue
            a, b = internal[condition], external[condition]
            others = [
                metric_value(name, summary.means[name])
                for name in EXTRA_METRICS
                for summary in (a, b)
            ]
            rows.append(
                (
                    result.internal.name(condition),
                    interval(a.accuracy),
                    interval(b.accuracy),
                    *others,
                )
            )
        metrics = ("accuracy", *EXTRA_METRICS)
        header = [f"{metric_title(name)}, {side}" for name in metrics for side in SIDES]
        if rows:  # empty if the internal test patches have no such modality
            yield Section(f"Task {task}, encoders of {spec}", ("arm", *header), rows)


def _by_condition(results: Results) -> Mapping[Condition, Summary]:
    return {summary.condition: summary for summary in results.summaries}


def _shifts(result: Validation) -> Section:
    rows = [
        (
            f"{result.internal.name(shift.condition)} on {shift.condition.modality}",
            f"{shift.internal:.2f}",
            f"{shift.external:.2f}",
        )
        for shift in result.shifts
    ]
    return Section(
        "Feature distance of the test patches from the training patches", ("encoder", *SIDES), rows
    )


def _contrasts(result: Validation) -> Section:
    def key(contrast: Contrast) -> tuple[str, Condition, Condition]:
        return contrast.name, contrast.a, contrast.b

    external = {key(contrast): contrast for contrast in result.external.contrasts}
    rows = []
    for a in result.internal.contrasts:
        if key(a) not in external:
            continue
        name = f"{a.a.task}: {a.a.modality}, {a.a.objective}: {a.name}"
        cells = [
            cell
            for c in (a, external[key(a)])
            for cell in (interval(c.difference, signed=True), p_value(c.holm_p), c.text)
        ]
        rows.append((name, *cells))
    header = [f"{word}, {side}" for side in SIDES for word in ("points", "p (Holm)", "verdict")]
    return Section("Effect of the privileged modality", ("contrast", *header), rows)


def _notes(result: Validation) -> list[str]:
    internal, external = result.internal, result.external
    sides = {"Internal": internal, "External": external}
    lines = []
    for side, results in sides.items():
        data = results.data
        groups = "groups not known" if data.groups is None else count(data.groups, "group")
        lines.append(f"{side}: {data.patches['test']:,} test patches of {data.title}, {groups}.")
        for task, classes in data.classes.items():
            counts = ", ".join(f"'{name}' {test:,}" for name, (_, test) in classes.items())
            lines.append(f"{side}, test patches of task {task}: {counts}.")
    summaries = [*internal.summaries, *external.summaries]
    return [
        *lines,
        "Probes and floors are fitted on the internal training patches only. Encoders trained on a "
        "task's labels are evaluated on that task with their own heads. Nothing is fitted on the "
        "external patches.",
        *([label_share_note(internal)] if internal.config.probe.labels < 1 else []),
        accuracy_note(internal.config.seeds, summaries),
        "ECE and Brier measure calibration: 0 is best.",
        "The distance is the Mahalanobis distance (Ledoit-Wolf covariance of the training "
        "features) of all test patches, labelled or not. Compare it only within a row. External "
        "above internal is a shift, for example of stain or scanner.",
        *([TESTS.format(units=unit_names(summaries))] if internal.contrasts else []),
        *(f"{side}: {note}" for side, results in sides.items() for note in floor_notes(results)),
        *(f"{side}: {caveat}" for side, results in sides.items() for caveat in results.caveats),
    ]
