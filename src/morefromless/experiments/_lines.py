"""Line plot of accuracy for an experiment, with the paper's lines next to ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pandas as pd
from matplotlib.figure import Figure as MatplotlibFigure

from morefromless.evaluation.results import Summary
from morefromless.experiments import Cell
from morefromless.report.content import Picture
from morefromless.report.density_figure import draw_lines
from morefromless.report.style import COLOURS, COLUMN_WIDTH, MARKERS, format_axes, save

MIN_TICK_RATIO = 1.25
"""Ticks within this factor of each other would overlap."""


def write_lines(
    stem: Path,
    cells: Sequence[Cell],
    *,
    axis_title: str,
    caption: str,
    ticks: str = "{:g}",
    papers: Mapping[str, Sequence[tuple[float, float]]] = MappingProxyType({}),
) -> Picture:
    """Write `stem.svg`, `.pdf`, `.png` and `.csv`: one line per arm over `Cell.x`, on a log axis.

    `papers` maps columns to published lines: points (x, accuracy).
    """
    figure = MatplotlibFigure(figsize=(1.5 * COLUMN_WIDTH, 4.2), layout="constrained")
    axes = figure.subplots()
    lines: dict[tuple[str, str], list[tuple[float, Summary]]] = {}
    for cell in cells:
        arm, _, sharing = cell.column.partition(", ")
        if cell.x is not None and arm in COLOURS:
            lines.setdefault((arm, sharing), []).append((cell.x, cell.summary))
    axes.set_xscale("log")
    draw_lines(axes, lines)
    xs = {x for line in lines.values() for x, _ in line}
    for column, points in papers.items():
        arm, _, sharing = column.partition(", ")
        axes.plot(
            [x for x, _ in points],
            [100 * value for _, value in points],
            label=f"paper: {column}",
            color=COLOURS[arm],
            linestyle=":",
            linewidth=1.2,
            marker=MARKERS[sharing],
            markersize=5,
            markerfacecolor="white",
        )
    paper_xs = {x for points in papers.values() for x, _ in points}
    paper_ticks = [
        x
        for x in paper_xs
        if all(not 1 / MIN_TICK_RATIO < x / ours < MIN_TICK_RATIO for ours in xs)
    ]
    tick_positions = sorted({*xs, *paper_ticks})
    axes.set_xticks(tick_positions, [ticks.format(x) for x in tick_positions])
    axes.minorticks_off()
    if len(tick_positions) == 1:
        axes.set_xlim(tick_positions[0] / MIN_TICK_RATIO, tick_positions[0] * MIN_TICK_RATIO)
    axes.set_xlabel(axis_title)
    axes.set_ylabel("accuracy on test patches (%)")
    format_axes(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=7)
    rows = [
        {
            "source": "ours",
            "column": cell.column,
            "x": cell.x,
            "accuracy": cell.summary.accuracy.estimate,
            "low": cell.summary.accuracy.low,
            "high": cell.summary.accuracy.high,
        }
        for cell in cells
    ]
    rows += [
        {"source": "paper", "column": column, "x": x, "accuracy": value}
        for column, points in papers.items()
        for x, value in points
    ]
    save(figure, stem, pd.DataFrame(rows))
    return Picture(
        stem.with_suffix(".svg").name,
        caption,
        f"Accuracy over {axis_title}, one line per arm; the numbers are in the table above.",
    )
