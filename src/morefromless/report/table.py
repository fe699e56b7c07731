"""The comparison's tables: one content for the terminal, Markdown, CSV and JSON."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

import morefromless
from morefromless.comparison.compare import Comparison
from morefromless.comparison.results import Contrast, Row
from morefromless.data.store import Store
from morefromless.evaluation.evaluate import Result
from morefromless.evaluation.intervals import bootstrap
from morefromless.evaluation.metrics import accuracy
from morefromless.report.section import (
    ROUGH,
    TESTS,
    Report,
    Section,
    curves_note,
    interval,
    p_value,
    rough,
    rough_note,
)
from morefromless.runs import plain


def sections(comparison: Comparison) -> list[Section]:
    """The tables of a comparison: for each primary modality its arms, floors and contrasts."""
    made = []
    for primary in comparison.options.primary:
        arms = [r for r in comparison.rows if r.arm.primary == primary and r.branch == "primary"]
        made.append(
            _arms(f"Encoders of {primary} ({_density(arms[0])})", arms, comparison, primary)
        )
        made.append(_contrasts(primary, comparison))
    privileged = comparison.options.privileged
    others = [r for r in comparison.rows if r.modality == privileged]
    if others:
        title = f"Encoders of the privileged modality, {privileged} ({_density(others[0])})"
        made.append(_arms(title, others, comparison, privileged))
    return made


def notes(comparison: Comparison) -> list[str]:
    """What holds for all the tables: data, protocol, and what they do not show."""
    options, patches = comparison.options, comparison.patches
    rising = [f"{r.title} on {r.modality}" for r in comparison.rows if r.rising]
    units = "groups" if comparison.rows[0].accuracy.unit == "group" else "patches"
    said = [
        f"Task {options.task}: {patches['train']:,} training and {patches['test']:,} test patches "
        f"of {len(comparison.classes)} classes ({', '.join(comparison.classes)}); "
        f"{options.encoder} at {options.size} px, {options.objective}, width {options.width}, "
        f"views {options.views}, {options.epochs} epochs of batches of {options.batch}, "
        f"lr {options.lr:g}, seeds 0-{options.seeds - 1}; {options.probe.name} probe.",
        "Accuracy is the mean over seeds, in brackets the 95 % bootstrap interval over "
        + units
        + (
            " and seeds."
            if options.seeds > 1
            else "; one seed, so the chance between seeds is not in it."
        ),
        TESTS.format(units=units),
    ]
    known = any(r.rising is not None for r in comparison.rows)
    said.append(curves_note(rising, options.probe_every > 0, known))
    return [*said, *(one.sentence for one in comparison.unbeaten), *comparison.caveats]


def report(comparison: Comparison) -> Report:
    """The tables in every form."""
    tables = sections(comparison)
    return Report(
        f"Comparison: {', '.join(comparison.options.primary)} with {comparison.options.privileged}",
        tables,
        [*rough_note(tables), *notes(comparison)],
        _lines(comparison),
        _everything(comparison),
    )


def _arms(title: str, rows: Sequence[Row], comparison: Comparison, seen: str) -> Section:
    header = ("arm", "accuracy", "balanced", "macro-F1", "ECE", "seeds", "curve")
    lines = [
        (
            row.title,
            interval(row.accuracy),
            f"{100 * row.balanced_accuracy.estimate:.1f}",
            f"{100 * row.macro_f1.estimate:.1f}",
            f"{row.ece:.3f}",
            " ".join(f"{100 * a:.1f}" for a in row.accuracies),
            {True: "rising", False: "flat", None: "-"}[row.rising],
        )
        for row in rows
    ]
    lines += [
        (
            f"floor: {floor.name}",
            interval(floor.accuracy),
            "",
            "",
            "",
            " ".join(f"{100 * a:.1f}" for a in floor.accuracies),
            "",
        )
        for floor in comparison.floors
        if floor.modality == seen
    ]
    return Section(title, header, lines, [])


def _contrasts(primary: str, comparison: Comparison) -> Section:
    header = ("contrast", "points", "p (Holm)", "verdict")
    lines = [
        (c.name, interval(c.difference, signed=True), p_value(c.holm_p), c.text)
        for c in comparison.contrasts
        if c.primary == primary
    ]
    return Section(f"What the privileged modality bought on {primary}", header, lines, [])


def _density(row: Row) -> str:
    if not row.resolution:
        return "vectors"
    magnification = f", {row.um_per_px:.3g} µm/px" if row.um_per_px else ""
    return f"{row.resolution} x {row.resolution} px of information{magnification}"


def _lines(comparison: Comparison) -> pd.DataFrame:
    """Long form: a line an arm, branch and seed."""
    return pd.DataFrame(
        {
            "primary": row.arm.primary,
            "arm": row.arm.kind,
            "sharing": row.arm.sharing or "",
            "branch": row.branch,
            "modality": row.modality,
            "resolution_px": row.resolution,
            "um_per_px": row.um_per_px,
            "seed": seed,
            "accuracy": reached,
        }
        for row in comparison.rows
        for seed, reached in enumerate(row.accuracies)
    )


def _everything(comparison: Comparison) -> dict[str, Any]:
    return {
        "version": morefromless.__version__,
        "options": plain(comparison.options),
        "classes": comparison.classes,
        "patches": comparison.patches,
        "unbeaten": [dataclasses.asdict(one) for one in comparison.unbeaten],
        "caveats": comparison.caveats,
        "rows": [dataclasses.asdict(row) for row in comparison.rows],
        "contrasts": [dataclasses.asdict(c) for c in comparison.contrasts],
        "floors": [dataclasses.asdict(floor) for floor in comparison.floors],
        "runs": [{"folder": one.run.path.name, **one.run.record} for one in comparison.planned],
        "training_seconds": comparison.seconds,
    }


def contrast_of(comparison: Comparison, primary: str, sharing: str) -> Contrast:
    """The contrast asymmetric - symmetric with this sharing in both arms."""
    name = f"asymmetric - symmetric, both {sharing}"
    return next(c for c in comparison.contrasts if c.primary == primary and c.name == name)


def show_results(results: Sequence[Result], store: Store, console: Console) -> None:
    """What each branch of one run reached, in the terminal."""
    table = Table("branch", "modality", "accuracy", "balanced", "macro-F1", "ECE")
    for result in results:
        scores = result.scores
        predictions = result.probabilities.argmax(1)
        reached = bootstrap(
            accuracy,
            predictions,
            store.labels[store.indices("test")],
            classes=len(store.classes),
            groups=store.groups("test"),
        )
        table.add_row(
            result.branch,
            result.modality,
            interval(reached),
            f"{100 * scores.balanced_accuracy:.1f}",
            f"{100 * scores.macro_f1:.1f}",
            f"{scores.ece:.3f}",
        )
    console.print(table)
    if rough(reached):
        console.print(ROUGH)
    recalls = Table("recall %", *store.classes)
    for result in results:
        cells = ["-" if r is None else f"{100 * r:.1f}" for r in result.scores.recall]
        recalls.add_row(result.branch, *cells)
    console.print(recalls)
    for caveat in store.caveats:
        console.print(f"- {caveat}")
