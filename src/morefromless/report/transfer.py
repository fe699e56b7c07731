"""The tables of `mfl transfer`, laid out as the paper's Table 2."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd

import morefromless
from morefromless.comparison.floors import FloorRow
from morefromless.comparison.transfer import Cell, Transfer
from morefromless.report.section import (
    TESTS,
    Report,
    Section,
    curves_note,
    interval,
    p_value,
    rough_note,
)
from morefromless.runs import plain


def sections(found: Transfer) -> list[Section]:
    """The paper's table; then each objective with both sharings, the floors, and the contrasts."""
    supervised = [cell for cell in found.cells if cell.method.kind == "supervised"]
    made = [_papers(found)]
    for objective in found.options.objectives:
        cells = [c for c in found.cells if c.method.learnt == objective and c not in supervised]
        titles = [f"{c.method.kind}, {c.method.sharing}" for c in cells]
        made.append(_grid(f"{objective}, frozen, linear probe", cells, titles))
    made.append(_supervised(supervised, found))
    made.append(_contrasts(found))
    return made


def notes(found: Transfer) -> list[str]:
    """What holds for all the tables: data, protocol, and what they do not show."""
    options = found.options
    said = [
        f"{options.encoder} at {options.size} px, width {options.width}, views {options.views}, "
        f"{options.epochs} epochs of batches of {options.batch}, lr {options.lr:g}, seeds "
        f"0-{options.seeds - 1}; {options.probe.name} probe."
    ]
    for task, classes in found.classes.items():
        each = ", ".join(f"{name} {train:,} / {test:,}" for name, (train, test) in classes.items())
        said.append(f"Task {task}, training / test patches: {each}.")
    unit = "groups" if found.cells[0].accuracy.unit == "group" else "patches"
    said += [
        f"Accuracy in per cent is the mean over seeds, in brackets the 95 % bootstrap interval "
        f"over {unit}"
        + (
            " and seeds."
            if options.seeds > 1
            else "; one seed, so the chance between seeds is not in it."
        ),
        "A supervised encoder answers its own task with its own head (marked *), any other with a "
        "probe of the frozen encoder, as all others.",
        TESTS.format(units=unit),
    ]
    rising = [f"{c.method.title} on {c.modality}" for c in found.cells if c.rising]
    known = any(c.rising is not None for c in found.cells)
    said.append(curves_note(rising, options.probe_every > 0, known))
    return [*said, *(one.sentence for one in found.unbeaten), *found.caveats]


def report(found: Transfer) -> Report:
    """The tables in every form."""
    tables = sections(found)
    return Report(
        f"Transfer: {' and '.join(found.options.modalities)}",
        tables,
        [*rough_note(tables), *notes(found)],
        _lines(found),
        _everything(found),
    )


def _papers(found: Transfer) -> Section:
    """The columns that the paper's Table 2 has, as far as they were trained: asymmetric encoders
    with independent weights, symmetric ones with shared."""
    own = {"asymmetric": "independent", "symmetric": "shared", "supervised": None}
    cells = [cell for cell in found.cells if cell.method.sharing == own[cell.method.kind]]
    short = {"asymmetric": "{} asym.", "symmetric": "{} sym.", "supervised": "superv. {}"}
    titles = [short[c.method.kind].format(c.method.learnt) for c in cells]
    return _grid("The columns of the paper's Table 2", cells, titles)


def _grid(title: str, cells: Sequence[Cell], columns: Sequence[str]) -> Section:
    """Rows are a task and what the encoder sees; columns are methods."""
    header = tuple(dict.fromkeys(columns))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for cell, column in zip(cells, columns, strict=True):
        reached = interval(cell.accuracy) + (" *" if cell.head else "")
        rows.setdefault((cell.task, cell.modality), {})[column] = reached
    lines = [(f"{task}: {seen}", *(row[c] for c in header)) for (task, seen), row in rows.items()]
    return Section(title, ("task: modality", *header), lines, [])


def _supervised(cells: Sequence[Cell], found: Transfer) -> Section:
    made = _grid("Supervised encoders, and floors", cells, [c.method.title for c in cells])
    names = list(dict.fromkeys(floor.name for rows in found.floors.values() for floor in rows))
    keys = dict.fromkeys((cell.task, cell.modality) for cell in cells)
    lines = []
    for row, (task, seen) in zip(made.rows, keys, strict=True):
        under = {f.name: interval(f.accuracy) for f in found.floors[task] if f.modality == seen}
        lines.append((*row, *(under[name] for name in names)))
    return Section(made.title, (*made.header, *names), lines, [])


def _contrasts(found: Transfer) -> Section:
    header = ("contrast", "task: modality", "points", "p (Holm)", "verdict")
    lines = [
        (
            f"{c.a.title} - {c.b.kind}, {c.b.sharing}",
            f"{c.task}: {c.modality}",
            interval(c.difference, signed=True),
            p_value(c.holm_p),
            c.text,
        )
        for c in found.contrasts
    ]
    return Section("What the other modality bought", header, lines, [])


def _lines(found: Transfer) -> pd.DataFrame:
    """Long form: a line a task, modality, method and seed."""
    return pd.DataFrame(
        {
            "task": cell.task,
            "modality": cell.modality,
            "method": cell.method.kind,
            "learnt": cell.method.learnt,
            "sharing": cell.method.sharing or "",
            "head": cell.head,
            "seed": seed,
            "accuracy": reached,
        }
        for cell in found.cells
        for seed, reached in enumerate(cell.accuracies)
    )


def _everything(found: Transfer) -> dict[str, Any]:
    floors: dict[str, list[FloorRow]] = found.floors
    return {
        "version": morefromless.__version__,
        "options": plain(found.options),
        "classes": found.classes,
        "unbeaten": [dataclasses.asdict(one) for one in found.unbeaten],
        "caveats": found.caveats,
        "cells": [dataclasses.asdict(cell) for cell in found.cells],
        "contrasts": [dataclasses.asdict(c) for c in found.contrasts],
        "floors": {task: [dataclasses.asdict(f) for f in rows] for task, rows in floors.items()},
        "runs": [{"folder": one.run.path.name, **one.run.record} for one in found.runs],
        "training_seconds": found.seconds,
    }
