"""Accuracy of every condition by name: one panel per task and modality."""

import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from morefromless.evaluation.results import Results, Summary
from morefromless.report.density_figure import group_close_floors, percent_bounds
from morefromless.report.style import (
    COLUMN_WIDTH,
    FLOOR_STYLES,
    PAGE_WIDTH,
    axis_limits,
    format_axes,
    line_styles,
)
from morefromless.report.words import join_words

OVERLAP_SHARE = 0.01
"""Share of the axis width below which the lines of two floors overlap."""


def panels(results: Results) -> Figure:
    """One panel per task and modality, one line per method with its interval, and the floors."""
    arms = results.select(lambda c: not c.floor)
    places = list(dict.fromkeys((s.condition.task, s.condition.modality) for s in arms))
    titles = list(dict.fromkeys(_method(s, results) for s in arms))
    names_width = max(2.2, 0.4 + 0.055 * max(map(len, titles)))  # inches of names and gaps
    width = (
        max(PAGE_WIDTH, names_width + 1.2 * len(places)) if len(places) > 1 else 1.5 * COLUMN_WIDTH
    )
    figure = Figure(figsize=(width, 1.5 + 0.22 * len(titles)), layout="constrained")
    panel_axes = np.atleast_1d(figure.subplots(1, len(places), sharey=True, squeeze=False)[0])
    line_length = int(15 * (width - names_width) / len(places))  # per line below or above a panel
    styles = line_styles((s.condition.arm, s.condition.variant) for s in arms)
    legend_lines: dict[str, Line2D] = {}
    for axes, (task, spec) in zip(panel_axes, places, strict=True):
        summaries = ((s, s.condition) for s in results.summaries)
        rows = [s for s, c in summaries if (c.task, c.modality) == (task, spec)]
        low, high = axis_limits(percent_bounds(s) for s in rows if not s.condition.floor)
        outside, inside = [], []
        for summary in rows:
            value = summary.accuracy
            if summary.condition.floor and not low <= 100 * value.estimate <= high:
                outside.append(f"{summary.condition.arm} {100 * value.estimate:.0f}\u00a0%")
            elif summary.condition.floor:
                inside.append(summary)
                legend_lines[summary.condition.title] = axes.axvline(
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
                    clip_on=False,  # do not cut a mark at 100 %
                )
        axes.set_xlim(low, high)
        axes.set_title(textwrap.fill(f"{task} from {spec}", line_length))
        lines = ["accuracy on test patches (%)"]
        lines += [f"outside: {', '.join(outside)}"] if outside else []
        lines += [
            f"overlapping: {join_words(f.condition.arm for f in group)}"
            for group in group_close_floors(inside, OVERLAP_SHARE * (high - low))
            if len(group) > 1
        ]
        lines = [textwrap.fill(line, line_length, break_on_hyphens=False) for line in lines]
        axes.set_xlabel("\n".join(lines))
        format_axes(axes)
    panel_axes[0].set_yticks(range(len(titles)), titles, fontsize=7)
    panel_axes[0].set_ylim(len(titles) - 0.4, -0.6)
    figure.legend(
        [*legend_lines.values()],
        [*legend_lines],
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=7,
    )
    return figure


def _method(summary: Summary, results: Results) -> str:
    return summary.condition.method + results.with_partner(summary.condition)
