"""Handmade results: two arms, a supervised one and two floors on one modality, and their folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from morefromless.config import StudyConfig, from_flat
from morefromless.evaluation.intervals import Interval
from morefromless.evaluation.paired import SignFlip
from morefromless.evaluation.results import (
    COLUMNS,
    FLOORS,
    Condition,
    Contrast,
    Data,
    FloorNotExceeded,
    Results,
    RunRecord,
    Summary,
)
from morefromless.report.content import CellFile, ExperimentFile, PlanFile

SPEC = "downsample:7"
HOSTILE = "</script><img src=x onerror=alert(1)> a | b ` <i>c</i> ](http://x) [/red]"


def interval(estimate: float, half: float = 0.02, units: int = 30) -> Interval:
    return Interval(estimate, estimate - half, estimate + half, 0.95, "group", units, True, 2000)


def condition(arm: str, sharing: str = "", task: str = "tissue", spec: str = SPEC) -> Condition:
    objective = "" if arm in FLOORS else task if arm == "supervised" else "vicreg"
    return Condition(arm, sharing, objective, spec, "full" if arm == "asymmetric" else "", task)


def summary(condition: Condition, accuracies: tuple[float, ...], **metrics: float) -> Summary:
    mean = sum(accuracies) / len(accuracies)
    means = {"accuracy": mean, "balanced_accuracy": mean - 0.01, "macro_f1": mean - 0.02}
    return Summary(
        condition=condition,
        accuracies=accuracies,
        intervals={"accuracy": interval(mean)},
        means={**means, "ece": 0.125, **metrics},
        recall=(0.5, None),
        confusion=((3, 1), (0, 0)),
        resolution=7,
        um_per_px=16.0,
        head=False,
        rising=None,
        not_above="",
    )


def contrast(a: Condition, b: Condition, **values: Any) -> Contrast:
    fields: dict[str, Any] = {
        "difference": interval(0.08, 0.01),
        "sign_flip": SignFlip(0.08, 0.0001, "group", 30),
        "p": 0.0002,
        "holm_p": 0.0004,
        "verdict": "better",
        "name": f"{a.arm} - {b.arm}, both {a.sharing}",
        **values,
    }
    return Contrast(a=a, b=b, mcnemar=(), **fields)


def results(tasks: tuple[str, ...] = ("tissue",), **metrics: float) -> Results:
    """Results of each task. `metrics` are additional metrics of all summaries."""
    summaries, contrasts = [], []
    for task in tasks:
        a, b = (condition(arm, "shared", task) for arm in ("asymmetric", "symmetric"))
        summaries += [
            summary(a, (0.78, 0.80), **metrics),
            summary(b, (0.70, 0.72), **metrics),
            summary(condition("supervised", task=task), (0.75, 0.77), **metrics),
            summary(condition("majority", task=task), (0.2,), **metrics),
            summary(condition("random encoder", task=task), (0.5, 0.5), **metrics),
        ]
        contrasts.append(contrast(a, b))
    rows = [
        (f"{s.condition.arm}-s{seed}", *vars(s.condition).values(), seed, "accuracy", value)
        for s in summaries
        for seed, value in enumerate(s.accuracies)
    ]
    options = {"store": "store", "primary": [SPEC], "tasks": [*tasks], "seeds": 2}
    return Results(
        config=from_flat(StudyConfig, options),
        table=pd.DataFrame(rows, columns=[*COLUMNS]),
        curves=pd.DataFrame(),
        summaries=summaries,
        contrasts=contrasts,
        floors_not_exceeded=[],
        data=Data(
            title="Own patches",
            side=64,
            um_per_px=2.0,
            hash="abc123",
            patches={"train": 4800, "test": 1200},
            classes={task: {"gland": (3000, 700), "stroma": (1800, 500)} for task in tasks},
            groups=30,
            caveats=[],
        ),
        runs=[
            RunRecord(
                f"asymmetric-shared-s{seed}",
                seed,
                {"seed": seed},
                {
                    "steps": 1800,
                    "seconds": 3600.0,
                    "device": "cuda:0",
                    "versions": {"torch": "2.12"},
                    "resumed": seed == 1,
                },
            )
            for seed in range(2)
        ],
        caveats=[],
    )


def two_partners(plain: Results) -> Results:
    """Add encoders of whole patches, trained with patches of 7 and of 14 px."""
    extra = [
        summary(replace(condition("asymmetric", "shared", task, "full"), partner=partner), scores)
        for task in plain.config.tasks
        for partner, scores in ((SPEC, (0.81, 0.83)), ("downsample:14", (0.91, 0.93)))
    ]
    config = replace(plain.config, primary=(SPEC, "downsample:14"))
    return replace(plain, config=config, summaries=[*plain.summaries, *extra])


def hostile() -> Results:
    """Results with markup in every text."""
    plain = results()
    data = replace(
        plain.data,
        title=HOSTILE,
        classes={"tissue": {HOSTILE: (3000, 700), "stroma": (1800, 500)}},
        caveats=[HOSTILE],
    )
    floor = FloorNotExceeded(HOSTILE, "tissue", HOSTILE, 0.5, HOSTILE, 0.4)
    named = [replace(c, name=HOSTILE, remark=HOSTILE) for c in plain.contrasts]
    return replace(
        plain, data=data, contrasts=named, floors_not_exceeded=[floor], caveats=[HOSTILE]
    )


def reproduction(folder: Path, study_results: Results | None = None, **plan: Any) -> Path:
    """Write the folder of a reproduction: one study and one experiment from outside the package."""
    study_results = study_results or results()
    study_results.save(folder / "study")
    a, b = (s.condition for s in study_results.summaries[:2])
    ExperimentFile(
        name="elsewhere",
        title="Table 9: elsewhere",
        about="What it asks.",
        headline="What it says.",
        studies={"study": "study"},
        cells=[
            CellFile(
                row="7 x 7 px",
                column="asymmetric",
                study="study",
                condition=a,
                published=0.7743,
                place="Table 9",
            ),
            CellFile(row="7 x 7 px", column="symmetric", study="study", condition=b),
            CellFile(row="14 x 14 px", column="asymmetric", published=0.8, place="Table 9"),
        ],
    ).write(folder)
    values: dict[str, Any] = {
        "command": "mfl reproduce elsewhere",
        "options": {},
        "about": "What the scale is.",
        "settings": {"epochs": 24},
        "sides": [7],
        "seeds": 2,
        "data": study_results.data,
        "experiments": {"elsewhere": [run.name for run in study_results.runs], "later": ["none"]},
        "titles": {"elsewhere": "Table 9: elsewhere", "later": "Later"},
        "skipped": {"masks": "it holds no nuclei."},
        "departures": [("epochs", "100", "24")],
        "repeated": {"whole patch": [0.8587, 0.8612]},
        "versions": {},
        "machine": {"processor": "EPYC", "cores": 8, "gpus": ["A6000"]},
        "when": "2026-01-01",
        **plan,
    }
    PlanFile(**values).write(folder)
    return folder
