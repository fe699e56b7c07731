"""The tables of a study, for the terminal, Markdown and LaTeX.

A study with one task and one objective has one table of arms per modality. A study with several has
grids like the paper's Table 2: rows are a task and a modality, columns are ways of training.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from morefromless import files
from morefromless.evaluation.results import Results, Summary
from morefromless.report.notes import notes
from morefromless.report.section import Report, Section, interval, p_value, unreliable_note
from morefromless.report.words import metric_title, metric_value


def write(results: Results, folder: Path) -> list[Path]:
    """Write `results.md` and `results.tex` to `folder`, and their numbers as CSV: means with
    intervals (`summary.csv`) and contrasts. `Results.save` writes the numbers of single runs."""
    content = report(results)
    paths = [content.write(folder / "results.md"), folder / "results.tex"]
    files.write_text(paths[1], content.latex())
    frames = {"summary": summary_frame(results), "contrasts": contrast_frame(results)}
    for name, frame in frames.items():
        paths.append(folder / f"{name}.csv")
        files.write_csv(paths[-1], frame)
    return paths


def summary_frame(results: Results) -> pd.DataFrame:
    """One row per condition and metric: the mean over seeds, with its bounds or None."""
    lines = []
    for summary in results.summaries:
        for metric, mean in summary.means.items():
            bounded = summary.intervals.get(metric)
            lines.append(
                {
                    **vars(summary.condition),
                    "metric": metric,
                    "mean": mean,
                    "low": bounded.low if bounded else None,
                    "high": bounded.high if bounded else None,
                    "seeds": len(summary.accuracies),
                }
            )
    return pd.DataFrame(lines)


def contrast_frame(results: Results) -> pd.DataFrame:
    """One row per contrast: a minus b, with bounds, p before and after Holm's correction."""
    return pd.DataFrame(
        {
            "contrast": c.name,
            "task": c.a.task,
            "modality": c.a.modality,
            "objective": c.a.objective,
            "difference": c.difference.estimate,
            "low": c.difference.low,
            "high": c.difference.high,
            "p": c.p,
            "holm_p": c.holm_p,
            "verdict": c.text,
        }
        for c in results.contrasts
    )


def report(results: Results) -> Report:
    """The tables and their notes as a report."""
    config = results.config
    title = f"{', '.join(config.primary)} with {config.privileged}"
    several = len(config.tasks) > 1 or len(config.objectives) > 1
    sections = _grids(results) if several else _tables(results)
    sections = [*sections, _contrasts(results)]
    return Report(f"Comparison: {title}", sections, [*unreliable_note(sections), *notes(results)])


def _tables(results: Results) -> list[Section]:
    """One table per modality: arms first, then floors."""
    config = results.config
    sections = []
    for spec in config.modalities:
        rows = [s for s in results.summaries if s.condition.modality == spec]
        if all(s.condition.floor for s in rows):
            continue
        role = "the privileged modality, " if spec == config.privileged else ""
        sections.append(_arms(f"Encoders of {role}{spec} ({_density(rows[0])})", rows, results))
    return sections


def _arms(title: str, rows: Sequence[Summary], results: Results) -> Section:
    metrics = [name for name in rows[0].means if name != "accuracy"]
    header = ("arm", "accuracy", *map(metric_title, metrics), "seeds", "curve")
    lines = []
    for summary in rows:
        name = results.name(summary.condition)
        curve = {True: "rising", False: "flat", None: ""}[summary.rising]
        lines.append(
            (
                name + (f" (not above {summary.not_above})" if summary.not_above else ""),
                interval(summary.accuracy) + " *" * summary.head,
                *(metric_value(name, summary.means[name]) for name in metrics),
                " ".join(f"{100 * value:.1f}" for value in summary.accuracies),
                curve,
            )
        )
    return Section(title, header, lines)


def _grids(results: Results) -> list[Section]:
    """Grids whose rows are a task and a modality, and whose columns are methods."""
    arms = [s for s in results.summaries if s.condition.trained]
    supervised = [s for s in arms if s.condition.arm == "supervised"]
    sections = []
    for objective in results.config.objectives:
        rows = [
            s
            for s in arms
            if s.condition.objective == objective and s.condition.arm != "distillation"
        ]
        titles = [s.condition.title + results.with_partner(s.condition) for s in rows]
        sections.append(
            _grid(f"{objective}, frozen, {results.config.probe.name} probe", rows, titles)
        )
    students = [s for s in arms if s.condition.arm == "distillation"]
    if students:
        titles = [s.condition.title for s in students]
        title = f"Students of a frozen teacher, {results.config.probe.name} probe"
        sections.append(_grid(title, students, titles))
    titles = [f"supervised on {s.condition.objective}" for s in supervised]
    sections.append(_grid("Supervised encoders", supervised, titles))
    if references := results.select(lambda c: c.reference):
        titles = [s.condition.encoder for s in references]
        sections.append(_grid("References", references, titles))
    floors = results.select(lambda c: c.floor)
    sections.append(_grid("Floors", floors, [s.condition.arm for s in floors]))
    return sections


def _grid(title: str, summaries: Sequence[Summary], columns: Sequence[str]) -> Section:
    header = tuple(dict.fromkeys(columns))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for summary, column in zip(summaries, columns, strict=True):
        text = interval(summary.accuracy) + (" *" if summary.head else "")
        text += f" (not above {summary.not_above})" if summary.not_above else ""
        key = (summary.condition.task, summary.condition.modality)
        rows.setdefault(key, {})[column] = text
    lines = [
        (f"{task}: {spec}", *(row.get(name, "") for name in header))
        for (task, spec), row in rows.items()
    ]
    return Section(title, ("task: modality", *header), lines)


def _contrasts(results: Results) -> Section:
    config = results.config
    several = (
        len(config.tasks) > 1 or len(config.objectives) > 1 or len(config.compared_modalities) > 1
    )
    lines = []
    for contrast in results.contrasts:
        a = contrast.a
        where = f"{a.task}: {a.modality}, {a.objective}" if several else ""
        lines.append(
            (
                f"{where}: {contrast.name}" if where else contrast.name,
                interval(contrast.difference, signed=True),
                p_value(contrast.holm_p),
                contrast.text,
            )
        )
    header = ("contrast", "points", "p (Holm)", "verdict")
    return Section("Effect of the privileged modality", header, lines)


def _density(summary: Summary) -> str:
    if not summary.resolution:
        return "vectors"
    magnification = f", {summary.um_per_px:.3g} µm/px" if summary.um_per_px else ""
    return f"{summary.resolution} x {summary.resolution} px of information{magnification}"
