"""Confusion matrices side by side, and what differs between them (paper, Fig. S4)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morefromless.report.style import AMOUNTS, DIFFERENCES, save

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def write_confusion(
    matrices: Mapping[str, Counts], classes: Sequence[str], stem: Path
) -> list[Path]:
    """A panel an encoder or arm, and one of the first's minus each other's, in points.

    Counts (C, C), rows being the true classes; of an arm summed over its seeds. Cells show the
    share of their row in per cent and the count; a class without test patches has an empty row.
    """
    shares = {title: by_row(counts) for title, counts in matrices.items()}
    first, *others = matrices
    side = 1.4 + 0.42 * len(classes)
    figure = Figure(figsize=(0.6 + side * len(matrices), 2 * side + 0.9), layout="constrained")
    panels = figure.subplots(2, len(matrices), squeeze=False)
    for axes, (title, counts) in zip(panels[0], matrices.items(), strict=True):
        _panel(axes, 100 * shares[title], AMOUNTS, (0, 100), counts)
        axes.set_title(title, fontsize=8)
    panels[1, 0].set_axis_off()
    differences = {title: 100 * (shares[first] - shares[title]) for title in others}
    most = max([1.0, *(float(np.nanmax(np.abs(d))) for d in differences.values())])  # one scale
    for axes, (title, points) in zip(panels[1, 1:], differences.items(), strict=True):
        _panel(axes, points, DIFFERENCES, (-most, most), None)
        axes.set_title(f"{first}\nminus {title}, points", fontsize=8)
    for axes in panels.flat:
        axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=7)
        axes.set_yticks(range(len(classes)), classes, fontsize=7)
        axes.set_xlabel("predicted", fontsize=8)
        axes.set_ylabel("true class", fontsize=8)
        axes.label_outer()
    return save(figure, stem, _numbers(matrices, classes))


def by_row(counts: npt.ArrayLike) -> Floats:
    """Each row divided by its sum, NaN where a class has no patches: (C, C) -> (C, C).

    >>> by_row([[3, 1], [0, 0]])
    array([[0.75, 0.25],
           [ nan,  nan]])
    """
    values = np.asarray(counts, np.float64)
    sums = values.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(values, sums, out=np.full_like(values, np.nan), where=sums > 0)
    return shares


def _panel(
    axes: Axes, shown: Floats, colours: str, bounds: tuple[float, float], counts: Counts | None
) -> None:
    """One matrix; numbers in its cells, dark on light and light on dark."""
    picture = axes.imshow(shown, cmap=colours, vmin=bounds[0], vmax=bounds[1])
    for (row, column), value in np.ndenumerate(shown):
        if np.isnan(value):
            continue
        text = f"{value:.0f}" if counts is not None else f"{value:+.0f}" if round(value) else "0"
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


def _numbers(matrices: Mapping[str, Counts], classes: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "encoder": title,
            "true": classes[row],
            "predicted": classes[column],
            "count": int(counts[row, column]),
            "share_of_row": by_row(counts)[row, column],
        }
        for title, counts in matrices.items()
        for row in range(len(classes))
        for column in range(len(classes))
    )
