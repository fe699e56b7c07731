"""Confusion matrices side by side, and their differences (paper, Fig. S4)."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from morefromless.report.style import DIVERGING_COLOURS, PAGE_WIDTH, SEQUENTIAL_COLOURS, save
from morefromless.report.words import abbreviate, minus

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def write_confusion(
    matrices: Mapping[str, Counts], classes: Sequence[str], stem: Path
) -> list[Path]:
    """Write one panel per encoder or arm, and one per difference of the first from another.

    `matrices` are counts (C, C) whose rows are true classes, summed over the seeds of an arm. With
    up to `MAX_NUMBERED_CLASSES` classes, cells show the share of their row in per cent,
    and the count; cells of differences show points. A class without test patches has an empty row.
    """
    shares = {title: row_shares(counts) for title, counts in matrices.items()}
    first, *others = matrices
    names = [abbreviate(name, MAX_NAME_LENGTH) for name in classes]
    numbered = len(classes) <= MAX_NUMBERED_CLASSES
    points, smallest = (7, 0.3) if numbered else (5, 0.09)
    margin = 0.5 + points / 110 * max(len(name) for name in names)  # of names, and axis titles
    side_limit = (PAGE_WIDTH - margin) / len(matrices) - 0.2
    side = max(1.3, len(classes) * max(smallest, min(0.45, side_limit / len(classes))))
    title_width = int(15 * side)  # per line of a title
    titles = [[*matrices], [f"{first} minus {title}, points" for title in others]]
    titles = [[textwrap.fill(title, title_width) for title in row] for row in titles if row]
    lines = sum(max(title.count("\n") for title in row) + 1 for row in titles)
    height = margin + (side + 0.35) * len(titles) + 0.15 * lines
    figure = Figure((margin + (side + 0.2) * len(matrices), height), layout="constrained")
    panels = figure.subplots(len(titles), len(matrices), squeeze=False)
    for axes, title in zip(panels.flat, chain(*titles), strict=False):
        axes.set_title(title, fontsize=8)
    for axes, (title, counts) in zip(panels[0], matrices.items(), strict=True):
        picture = axes.imshow(100 * shares[title], cmap=SEQUENTIAL_COLOURS, vmin=0, vmax=100)
        if numbered:
            _write_cells(axes, picture, 100 * shares[title], counts)
    differences = {title: 100 * (shares[first] - shares[title]) for title in others}
    largest = max([1.0, *(float(np.nanmax(np.abs(d))) for d in differences.values())])  # one scale
    for axes, difference in zip(panels[-1], differences.values(), strict=False):
        picture = axes.imshow(difference, cmap=DIVERGING_COLOURS, vmin=-largest, vmax=largest)
        if numbered:
            _write_cells(axes, picture, difference, None)
    colour_bars = [
        (SEQUENTIAL_COLOURS, 0.0, 100.0, "% of the class"),
        (DIVERGING_COLOURS, -largest, largest, "points"),
    ]
    for row, (colours, low, high, title) in zip(panels, colour_bars, strict=False):
        if not numbered:
            mappable = ScalarMappable(Normalize(low, high), colours)
            figure.colorbar(mappable, ax=row, shrink=0.6).set_label(title, fontsize=8)
    for axes in panels.flat:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=points)
        axes.set_yticks(range(len(names)), names, fontsize=points)
        axes.set_xlabel("predicted", fontsize=8)
        axes.set_ylabel("true class", fontsize=8)
        axes.label_outer()
    if others:
        panels[-1, -1].set_axis_off()
        _name_below(panels[0, -1], names, points)
    return save(figure, stem, _numbers(matrices, shares, classes))


MAX_NUMBERED_CLASSES = 12
"""Maximum number of classes for which cells have numbers. With more, the numbers would be too
small: a colour bar is drawn instead, and the .csv file has the numbers."""
MAX_NAME_LENGTH = 24
"""Maximum length of a class name."""


def _name_below(axes: Axes, names: Sequence[str], size: int) -> None:
    """Write class names into the free space below a matrix, without making its row higher."""
    for place, text in enumerate(names):
        axes.annotate(
            text,
            (place, len(names) - 0.5),
            xytext=(0, -8),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="top",
            fontsize=size,
            annotation_clip=False,
        ).set_in_layout(False)


def row_shares(counts: npt.ArrayLike) -> Floats:
    """Divide each row by its sum, NaN if a class has no patches: (C, C) -> (C, C).

    >>> row_shares([[3, 1], [0, 0]])
    array([[0.75, 0.25],
           [ nan,  nan]])
    """
    values = np.asarray(counts, np.float64)
    sums = values.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(values, sums, out=np.full_like(values, np.nan), where=sums > 0)
    return shares


def _write_cells(axes: Axes, picture: AxesImage, shown: Floats, counts: Counts | None) -> None:
    """Write numbers into the cells of one matrix, dark on light and light on dark."""
    for (row, column), value in np.ndenumerate(shown):
        if np.isnan(value):
            continue
        text = (
            f"{value:.0f}" if counts is not None else minus(f"{round(value):+}").replace("+0", "0")
        )
        if counts is not None and counts[row, column]:
            text += f"\n({counts[row, column]:,})"
        lightness = np.dot(picture.to_rgba(np.array([value]))[0, :3], (0.299, 0.587, 0.114))
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=5.5,
            color="black" if lightness > 0.5 else "white",
        )


def _numbers(
    matrices: Mapping[str, Counts], shares: Mapping[str, Floats], classes: Sequence[str]
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "encoder": title,
            "true": classes[row],
            "predicted": classes[column],
            "count": int(counts[row, column]),
            "share_of_row": shares[title][row, column],
        }
        for title, counts in matrices.items()
        for row in range(len(classes))
        for column in range(len(classes))
    )
