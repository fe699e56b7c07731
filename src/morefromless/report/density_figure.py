"""Accuracy against information density: one line per way of training, and the floors."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morefromless.evaluation.results import Results, Summary
from morefromless.report.style import COLUMN_WIDTH, axis_limits, format_axes, line_styles

SHIFT_FACTOR = 1.025
"""Factor between neighbouring arms along x, so that their intervals can be distinguished."""


def density(results: Results) -> Figure:
    """Accuracy of the encoders of primary modalities against the information in these."""
    figure = Figure(figsize=(COLUMN_WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    rows = primary_encoders(results)
    lines: dict[tuple[str, str], list[tuple[float, Summary]]] = {}
    for summary in rows:
        key = (summary.condition.arm, summary.condition.variant)
        lines.setdefault(key, []).append((summary.resolution, summary))
    draw_lines(axes, lines)
    axes.set_ylim(axis_limits(map(percent_bounds, rows)))
    floors = results.select(lambda c: c.floor and c.modality in results.config.primary)
    outside = _floor_lines(axes, [floor for floor in floors if floor.resolution])
    sides = resolutions(rows)
    axes.set_xscale("log")
    axes.set_xticks(sides, [_tick(next(r for r in rows if r.resolution == s)) for s in sides])
    axes.minorticks_off()
    axes.set_xlabel("\n".join(["information in the primary modality (side in px)", *outside]))
    axes.set_ylabel("accuracy on test patches (%)")
    format_axes(axes)
    longest = max(len(", ".join(key)) for key in lines)
    columns = 2 if longest < TWO_COLUMN_NAME_LENGTH else 1
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=6)
    return figure


TWO_COLUMN_NAME_LENGTH = 28
"""Names shorter than this are listed in two columns below a figure one column wide."""


def percent_bounds(summary: Summary) -> tuple[float, float]:
    """The bounds of an accuracy's interval in per cent."""
    return 100 * summary.accuracy.low, 100 * summary.accuracy.high


def primary_encoders(results: Results) -> list[Summary]:
    """The encoders (no floors) of primary modalities whose information is a number of pixels."""
    primary = results.config.primary
    rows = results.select(lambda c: c.modality in primary and not c.floor)
    return [summary for summary in rows if summary.resolution]


def resolutions(rows: Iterable[Summary]) -> list[int]:
    return sorted({row.resolution for row in rows})


def draw_lines(axes: Axes, lines: dict[tuple[str, str], list[tuple[float, Summary]]]) -> None:
    """Draw one line per arm and variant: points (x, summary) on a logarithmic axis, with intervals.
    Lines are shifted along x so that they do not hide each other."""
    styles = line_styles(lines)
    for number, ((arm, variant), line) in enumerate(lines.items()):
        shift = SHIFT_FACTOR ** (number - (len(lines) - 1) / 2)
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
    """Draw floors as short grey bars next to the arms that they belong to, named at the right side.

    The names of close bars are stacked. Bars outside the axis are skipped; returns lines of text
    that name them.
    """
    low, high = axes.get_ylim()
    inside = [f for f in floors if low <= 100 * f.accuracy.estimate <= high]
    for floor in inside:
        at, height = floor.resolution, 100 * floor.accuracy.estimate
        axes.plot([at / 1.12, at * 1.12], [height, height], color="0.65", linewidth=1, zorder=0)
    last = max((floor.resolution for floor in inside), default=0)
    named = [floor for floor in inside if floor.resolution == last]
    for group in group_close_floors(named, MIN_NAME_GAP * (high - low)):
        heights = [100 * floor.accuracy.estimate for floor in group]
        axes.annotate(
            "\n".join(floor.condition.arm for floor in reversed(group)),
            (last * 1.14, (heights[0] + heights[-1]) / 2),
            fontsize=6,
            color="0.35",
            va="center",
            annotation_clip=False,
        )
    outside: dict[str, list[str]] = {}
    for floor in sorted(floors, key=lambda f: f.resolution):
        if floor not in inside:
            text = f"{100 * floor.accuracy.estimate:.0f} %"
            outside.setdefault(floor.condition.arm, []).append(text)
    return [
        f"outside the axis: {arm} {', '.join(values if len(set(values)) > 1 else values[:1])}"
        for arm, values in outside.items()
    ]


MIN_NAME_GAP = 0.05
"""Share of the axis height below which the names of two floors would overlap."""


def group_close_floors(floors: Iterable[Summary], gap: float) -> list[list[Summary]]:
    """Floors in ascending order, grouped: within a group, each is less than `gap` points above the
    previous one."""
    groups: list[list[Summary]] = []
    for floor in sorted(floors, key=lambda f: f.accuracy.estimate):
        above = floor.accuracy.estimate - groups[-1][-1].accuracy.estimate if groups else 1.0
        if 100 * above < gap:
            groups[-1].append(floor)
        else:
            groups.append([floor])
    return groups


def _tick(row: Summary) -> str:
    return f"{row.resolution}" + (f"\n{row.um_per_px:.3g} µm/px" if row.um_per_px else "")
