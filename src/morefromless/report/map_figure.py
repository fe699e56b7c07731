"""Maps of features: one per encoder, by class and by group, and two encoders in one space."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morefromless.analysis.maps import align, project
from morefromless.report.style import PAGE_WIDTH, format_axes, save
from morefromless.report.words import abbreviate

# Okabe and Ito's eight colours; with more classes, markers distinguish those of one colour.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
SHAPES = ("o", "^", "s", "D")
MAX_COLUMNS = 3
"""Maximum number of maps side by side."""
LEGEND_WIDTH = 1.5
"""Width in inches of the legend at their right."""
MAX_LINE_LENGTH = 24
"""Maximum length of a line in a legend."""
MAX_NAMES = 16
"""Maximum number of names in a legend; with more, only their number is written."""

Points = npt.NDArray[np.float64]


def write_map(
    features: Mapping[str, npt.NDArray[np.float32]],
    ids: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str] | None,
    stem: Path,
    method: str = "pca",
    seed: int = 0,
) -> list[Path]:
    """Write one map per encoder, by label and, below, by group; of two encoders also both in one
    space.

    `features` maps encoders to (N, D) features of the same N patches. In one space, patches are
    coloured by encoder, and lines join the two places of a patch (for a few hundred patches).
    """
    maps = {title: project(values, method, seed) for title, values in features.items()}
    colourings = {"label": labels} | ({"group": groups} if groups is not None else {})
    both = len(maps) == 2
    columns = min(MAX_COLUMNS, len(maps))
    map_rows = -(-len(maps) // columns)
    side = (PAGE_WIDTH - LEGEND_WIDTH) / columns
    rows = len(colourings) * map_rows + both
    figure = Figure(figsize=(PAGE_WIDTH, rows * min(side, 2.4)), layout="constrained")
    widths = [*[side] * columns, LEGEND_WIDTH]
    panels = figure.subplots(rows, columns + 1, squeeze=False, width_ratios=widths)
    for axes in panels.flat:
        axes.set_axis_off()
    numbers = []
    for title, (points, _) in maps.items():
        numbers.append(_numbers(title, points, ids, labels, groups))
    for first, (name, values) in zip(range(0, rows, map_rows), colourings.items(), strict=False):
        free = panels[first : first + map_rows, :columns].flat
        for axes, (title, (points, shares)) in zip(free, maps.items(), strict=False):
            _scatter(axes, points, values)
            _label(axes, textwrap.fill(title, 84 // columns), shares)
        _draw_legend(panels[first, -1], panels[first, 0], name)
    if both:
        a, b = align(*features.values())
        points, shares = project(np.concatenate([a, b]), method, seed)
        halves = dict(zip(features, np.split(points, 2), strict=True))
        _joint(panels[-1, 0], halves)
        _label(panels[-1, 0], "both in one space", shares)
        _draw_legend(panels[-1, -1], panels[-1, 0], "encoder")
        numbers += [
            _numbers(f"{title}, in one space", half, ids, labels, groups)
            for title, half in halves.items()
        ]
    return save(figure, stem, pd.concat(numbers, ignore_index=True))


def _scatter(axes: Axes, points: Points, values: Sequence[str]) -> None:
    names = sorted(set(values))
    many = len(names) > len(COLOURS) * len(SHAPES)
    kinds = np.asarray(values, dtype=object)
    for number, name in enumerate(names):
        colour = colormaps["viridis"](number / len(names)) if many else COLOURS[number % 8]
        shape = "o" if many else SHAPES[number // 8]
        members = points[kinds == name]
        axes.scatter(
            members[:, 0],
            members[:, 1],
            s=5,
            color=colour,
            marker=shape,
            alpha=0.6,
            linewidths=0,
            label=abbreviate(name, MAX_LINE_LENGTH),
            rasterized=True,
        )


def _joint(axes: Axes, halves: Mapping[str, Points]) -> None:
    a, b = halves.values()
    step = max(1, len(a) // 300)
    axes.plot(
        *np.stack([a[::step], b[::step]]).transpose(2, 0, 1),
        color="0.6",
        linewidth=0.4,
        alpha=0.5,
        zorder=0,
    )
    for number, (title, half) in enumerate(halves.items()):
        axes.scatter(
            half[:, 0],
            half[:, 1],
            s=5,
            color=("#D55E00", "#0072B2")[number],
            alpha=0.5,
            marker=("o", "^")[number],
            linewidths=0,
            label=textwrap.fill(title, MAX_LINE_LENGTH),
            rasterized=True,
        )


def _label(axes: Axes, title: str, shares: Sequence[float]) -> None:
    """Set the title, and name the axes: principal components and their shares of the variance."""
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title(title)
    if shares:
        axes.set_xlabel(f"1st component ({100 * shares[0]:.0f} %)")
        axes.set_ylabel(f"2nd component ({100 * shares[1]:.0f} %)")
    format_axes(axes)


def _draw_legend(axes: Axes, panel: Axes, title: str) -> None:
    """Draw the legend of another panel into an empty one."""
    handles, names = panel.get_legend_handles_labels()
    if len(names) > MAX_NAMES:
        handles, names, title = [], [], f"{len(names)} {title}s: too many to name"
    axes.legend(
        handles,
        names,
        title=title,
        fontsize=6,
        title_fontsize=7,
        alignment="left",
        frameon=False,
        loc="upper left",
        borderaxespad=0,
        labelspacing=0.25,
        markerscale=2,
    )


def _numbers(
    title: str,
    points: Points,
    ids: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str] | None,
) -> pd.DataFrame:
    columns = {"encoder": title, "id": list(ids), "label": list(labels)}
    if groups is not None:
        columns["group"] = list(groups)
    return pd.DataFrame({**columns, "x": points[:, 0], "y": points[:, 1]})
