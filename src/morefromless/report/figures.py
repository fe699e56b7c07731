"""The figures of a study: views of its results.

`density`: accuracy against information density, where each way of training has one encoder at each
of several densities; `panels`: else, every condition by name, a panel a task and modality;
`curves`: learning curves, where they were drawn.
"""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from morefromless.evaluation.results import KEY, Condition, Results, Summary
from morefromless.report.style import (
    COLUMN,
    FLOOR_STYLES,
    FORMATS,
    PAGE,
    cut,
    looks,
    plain,
    save,
)

APART = 1.025
"""Factor between neighbouring arms along x, so that their intervals can be told apart."""


def write(results: Results, folder: Path) -> list[Path]:
    """Every figure that these results have, as SVG, PDF and PNG with the numbers as CSV; what an
    earlier study left of the others goes."""
    arms = numbers(results.select(lambda c: not c.floor))
    stem, draw = ("density", density) if _has_lines(results) else ("panels", panels)
    paths = save(draw(results), folder / stem, arms)
    if not results.curves.empty:
        paths += save(curves(results), folder / "curves", results.curves)
    for stem in ("density", "panels", "curves"):
        for suffix in (*FORMATS, ".csv"):
            path = folder / f"{stem}{suffix}"
            if path not in paths:
                path.unlink(missing_ok=True)
    return paths


def _has_lines(results: Results) -> bool:
    """Whether each way of training has one encoder at each of several densities."""
    config, rows = results.config, _of_primaries(results)
    modalities = {row.condition.modality for row in rows}
    single = len(config.tasks) == len(config.objectives) == 1 and not config.both_ways
    return single and 1 < len(_sides(rows)) == len(modalities)


def numbers(summaries: Sequence[Summary]) -> pd.DataFrame:
    """What a figure of accuracies draws: a line a condition."""
    return pd.DataFrame(
        {
            **vars(s.condition),
            "resolution_px": s.resolution,
            "um_per_px": s.um_per_px,
            "accuracy": s.accuracy.estimate,
            "low": s.accuracy.low,
            "high": s.accuracy.high,
            "seeds": " ".join(f"{value:.4f}" for value in s.accuracies),
        }
        for s in summaries
    )


def density(results: Results) -> Figure:
    """Accuracy of the encoders of primary modalities against the information that these hold."""
    figure = Figure(figsize=(COLUMN, 3.6), layout="constrained")
    axes = figure.subplots()
    rows = _of_primaries(results)
    lines: dict[tuple[str, str], list[tuple[float, Summary]]] = {}
    for summary in rows:
        key = (summary.condition.arm, summary.condition.variant)
        lines.setdefault(key, []).append((summary.resolution, summary))
    draw_lines(axes, lines)
    axes.set_ylim(cut(map(_bounds, rows)))
    floors = results.select(lambda c: c.floor and c.modality in results.config.primary)
    distant = _floor_lines(axes, [floor for floor in floors if floor.resolution])
    sides = _sides(rows)
    axes.set_xscale("log")
    axes.set_xticks(sides, [_tick(next(r for r in rows if r.resolution == s)) for s in sides])
    axes.minorticks_off()
    axes.set_xlabel("\n".join(["information in the primary modality (side in px)", *distant]))
    axes.set_ylabel("accuracy on test patches (%)")
    plain(axes)
    longest = max(len(", ".join(key)) for key in lines)
    columns = 2 if longest < LETTERS else 1
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=6)
    return figure


LETTERS = 28
"""Of names of which two stand beside each other below a figure a column wide."""


def _bounds(summary: Summary) -> tuple[float, float]:
    """Of an accuracy's interval, in per cent."""
    return 100 * summary.accuracy.low, 100 * summary.accuracy.high


def _of_primaries(results: Results) -> list[Summary]:
    """The trained encoders of primary modalities whose information is a number of pixels."""
    primary = results.config.primary
    rows = results.select(lambda c: c.modality in primary and not c.floor)
    return [summary for summary in rows if summary.resolution]


def _sides(rows: Iterable[Summary]) -> list[int]:
    return sorted({row.resolution for row in rows})


def draw_lines(axes: Axes, lines: dict[tuple[str, str], list[tuple[float, Summary]]]) -> None:
    """A line an arm and variant: points (x, summary) on a logarithmic axis, with intervals, side by
    side."""
    styles = looks(lines)
    for number, ((arm, variant), line) in enumerate(lines.items()):
        shift = APART ** (number - (len(lines) - 1) / 2)
        ordered = sorted(line, key=lambda point: point[0])
        middle, low, high = (
            np.array([100 * getattr(s.accuracy, bound) for _, s in ordered])
            for bound in ("estimate", "low", "high")
        )
        axes.errorbar(
            [x * shift for x, _ in ordered],
            middle,
            yerr=np.stack([middle - low, high - middle]).clip(0),
            label=", ".join(filter(None, (arm, variant))),
            **styles[arm, variant],
            markersize=5,
            capsize=2.5,
            linewidth=1.3,
        )


def _floor_lines(axes: Axes, floors: Sequence[Summary]) -> list[str]:
    """Floors as short grey bars beside the arms that they belong to, named at the right side.

    Bars that lie close to each other share a name's place. Those that lie outside the axis are
    left out, and lines of text that name them come back.
    """
    low, high = axes.get_ylim()
    inside = [f for f in floors if low <= 100 * f.accuracy.estimate <= high]
    for floor in inside:
        at, height = floor.resolution, 100 * floor.accuracy.estimate
        axes.plot([at / 1.12, at * 1.12], [height, height], color="0.65", linewidth=1, zorder=0)
    last = max((floor.resolution for floor in inside), default=0)
    groups: list[list[Summary]] = []
    for floor in sorted(inside, key=lambda f: f.accuracy.estimate):
        if floor.resolution != last:
            continue
        above = floor.accuracy.estimate - groups[-1][-1].accuracy.estimate if groups else 1.0
        if 100 * above < CLOSE * (high - low):
            groups[-1].append(floor)
        else:
            groups.append([floor])
    for group in groups:
        heights = [100 * floor.accuracy.estimate for floor in group]
        axes.annotate(
            "\n".join(floor.condition.arm for floor in reversed(group)),
            (last * 1.14, (heights[0] + heights[-1]) / 2),
            fontsize=6,
            color="0.35",
            va="center",
            annotation_clip=False,
        )
    distant: dict[str, list[str]] = {}
    for floor in sorted(floors, key=lambda f: f.resolution):
        if floor not in inside:
            text = f"{100 * floor.accuracy.estimate:.0f} %"
            distant.setdefault(floor.condition.arm, []).append(text)
    return [
        f"outside the axis: {arm} {', '.join(values if len(set(values)) > 1 else values[:1])}"
        for arm, values in distant.items()
    ]


CLOSE = 0.05
"""Share of the axis' height below which two floors' names would lie on one another."""


def _tick(row: Summary) -> str:
    return f"{row.resolution}" + (f"\n{row.um_per_px:.3g} µm/px" if row.um_per_px else "")


def panels(results: Results) -> Figure:
    """A panel a task and modality, a line a method with its interval, over the floors."""
    arms = results.select(lambda c: not c.floor)
    places = list(dict.fromkeys((s.condition.task, s.condition.modality) for s in arms))
    titles = list(dict.fromkeys(_method(s, results) for s in arms))
    width = max(PAGE, 2.2 + 1.2 * len(places)) if len(places) > 1 else 1.5 * COLUMN
    figure = Figure(figsize=(width, 1.5 + 0.22 * len(titles)), layout="constrained")
    every = np.atleast_1d(figure.subplots(1, len(places), sharey=True, squeeze=False)[0])
    letters = int(15 * (width - 2.2) / len(places))  # of a line below or above a panel
    styles = looks((s.condition.arm, s.condition.variant) for s in arms)
    drawn: dict[str, Line2D] = {}
    for axes, (task, spec) in zip(every, places, strict=True):
        rows = results.select(
            lambda c, task=task, spec=spec: (c.task, c.modality) == (task, spec)  # type: ignore[misc]
        )
        low, high = cut(_bounds(s) for s in rows if not s.condition.floor)
        distant = []
        for summary in rows:
            value = summary.accuracy
            if summary.condition.floor and not low <= 100 * value.estimate <= high:
                distant.append(f"{summary.condition.arm} {100 * value.estimate:.0f}\u00a0%")
            elif summary.condition.floor:
                drawn[summary.condition.title] = axes.axvline(
                    100 * value.estimate,
                    color="0.6",
                    linewidth=1,
                    linestyle=FLOOR_STYLES[summary.condition.arm],
                    zorder=0,
                )
            else:
                below, above = value.estimate - value.low, value.high - value.estimate
                axes.errorbar(
                    [100 * value.estimate],
                    [titles.index(_method(summary, results))],
                    xerr=[[max(0.0, 100 * below)], [max(0.0, 100 * above)]],
                    **styles[summary.condition.arm, summary.condition.variant],
                    markersize=5,
                    capsize=2.5,
                    linewidth=1.3,
                )
        axes.set_xlim(low, high)
        axes.set_title(textwrap.fill(f"{task} from {spec}", letters))
        lines = ["accuracy on test patches (%)"]
        lines += [f"outside: {', '.join(distant)}"] if distant else []
        lines = [textwrap.fill(line, letters, break_on_hyphens=False) for line in lines]
        axes.set_xlabel("\n".join(lines))
        plain(axes)
    every[0].set_yticks(range(len(titles)), titles, fontsize=7)
    every[0].set_ylim(len(titles) - 0.4, -0.6)
    figure.legend(
        [*drawn.values()],
        [*drawn],
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=7,
    )
    return figure


def _method(summary: Summary, results: Results) -> str:
    return summary.condition.method + results.with_partner(summary.condition)


def curves(results: Results) -> Figure:
    """Learning curves: a panel a modality and objective, a line the mean over seeds.

    Thin lines are the runs. Supervised encoders of the first task, and students of a frozen
    teacher, stand in every panel.
    """
    config, table = results.config, results.curves
    students = table["arm"] == "distillation"
    keyed = table.assign(task=config.tasks[0])[[*KEY, "task"]]
    conditions = [Condition(*key) for key in keyed.itertuples(index=False)]
    table = table.assign(condition=np.array(conditions, dtype=object))
    styles = looks((c.arm, c.variant) for c in conditions)
    keys = [
        (spec, objective)
        for spec in dict.fromkeys(table["modality"])
        for objective in config.objectives
    ]
    width = max(PAGE, 1.8 * len(keys)) if len(keys) > 1 else 1.5 * COLUMN
    figure = Figure(figsize=(width, 3.4), layout="constrained")
    every = np.atleast_1d(figure.subplots(1, len(keys), sharey=True, squeeze=False)[0])
    for axes, (spec, objective) in zip(every, keys, strict=True):
        learnt = table["objective"].isin([objective, config.tasks[0]]) | students
        part = table[(table["modality"] == spec) & learnt]
        for condition, arm_points in part.groupby("condition", sort=False):
            line = {**styles[condition.arm, condition.variant], "marker": ""}
            runs = [run for _, run in arm_points.groupby("run", sort=False)]
            for run in runs:
                axes.plot(run["step"], 100 * run["accuracy"], linewidth=0.5, alpha=0.4, **line)
            length = min(map(len, runs))
            mean = np.mean([run["accuracy"].to_numpy()[:length] for run in runs], axis=0)
            label = condition.title + results.with_partner(condition)
            steps = runs[0]["step"][:length]
            axes.plot(steps, 100 * mean, linewidth=1.8, label=label, **line)
        axes.set_title(spec if len(config.objectives) == 1 else f"{spec}, {objective}")
        axes.set_xlabel("training steps")
        plain(axes)
    every[0].set_ylabel("ridge probe on test patches (%)")
    drawn = {str(line.get_label()): line for axes in every for line in axes.get_lines()}
    titles = [label for label in drawn if not label.startswith("_")]  # the others are single runs
    figure.legend(
        [drawn[title] for title in titles],
        titles,
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=7,
    )
    return figure
