"""Common style of the figures: the look of each way of training, and how to save a figure."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from morefromless import files
from morefromless.report.fonts import set_fonts

# Okabe and Ito's colours, which colour-blind readers can distinguish; line styles show sharing.
COLOURS = {
    "asymmetric": "#D55E00",
    "symmetric": "#0072B2",
    "supervised": "#009E73",
    "trident": "#CC79A7",
}
PALETTES = {
    "distillation": ("#E69F00", "#56B4E9", "#000000", "#8C6D31", "#5D3A9B", "#B5B500"),
    "fine-tuned": ("#A33B00", "#00456B", "#6E2C00", "#002B44"),
    "reference": ("#7F7F7F", "#404040", "#B0B0B0"),
}
"""Colours of arms with many variants, in order: students of a frozen teacher, fine-tuned encoders,
published encoders."""
LINE_STYLES = {"shared": "--", "independent": "-", "": "-"}
MARKERS = {"shared": "s", "independent": "o", "": "D"}
FLOOR_STYLES = {
    "majority": ":",
    "mean-rgb": "--",
    "colour-histogram": "-",
    "random encoder": "-.",
}
# Even in lightness, so that they print in grey and are readable for all.
SEQUENTIAL_COLOURS, DIVERGING_COLOURS = "cividis", "PuOr"

COLUMN_WIDTH, PAGE_WIDTH = 3.5, 7.2
"""Widths of a journal's column and page in inches: 89 and 183 mm."""

FORMATS: dict[str, dict[str, Any]] = {
    ".svg": {"metadata": {"Date": None}},
    ".pdf": {"metadata": {"CreationDate": None}},
    ".png": {"dpi": 160},
}


def line_styles(ways: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Colour, line style and marker of ways of training, each (arm, sharing or objective).

    >>> line_styles([("symmetric", "shared")])
    {('symmetric', 'shared'): {'color': '#0072B2', 'linestyle': '--', 'marker': 's'}}
    """
    ways = list(dict.fromkeys(ways))
    styles = {}
    for arm, variant in ways:
        palette = PALETTES.get(arm) or (COLOURS[arm],)
        place = [way for way in ways if way[0] == arm].index((arm, variant))
        colour = palette[place % len(palette)]
        line, marker = LINE_STYLES.get(variant, "-."), MARKERS.get(variant, "^")
        styles[arm, variant] = {"color": colour, "linestyle": line, "marker": marker}
    return styles


def format_axes(axes: Axes) -> None:
    """Set the look of every plot: no frame at the top and right, labels of 8 pt, ticks of 7 pt."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7)
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_fontsize(8)


def axis_limits(spans: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Limits of a per cent axis that shows intervals, such that differences of a point are visible.
    Values outside the limits are named next to the axis.

    >>> axis_limits([(78.0, 80.0), (77.0, 79.0)])
    (72.0, 85.0)
    """
    lows, highs = zip(*spans, strict=True)
    margin = max(5.0, (max(highs) - min(lows)) / 4)
    return max(0.0, min(lows) - margin), min(100.0, max(highs) + margin)


def save(figure: Figure, stem: Path, numbers: pd.DataFrame) -> list[Path]:
    """Save the figure as `stem.svg`, `.pdf` and `.png`, and its numbers as `stem.csv`.

    Each file is written atomically.
    """
    paths = [stem.with_suffix(".csv")]
    files.write_csv(paths[0], numbers)
    for suffix, options in FORMATS.items():
        paths.append(stem.with_suffix(suffix))
        write_figure(figure, paths[-1], **options)
    return paths


def write_figure(figure: Figure, path: Path, **options: Any) -> None:
    """Write a figure to one file (`.png` ...) atomically, with the same bytes each time."""
    FigureCanvasAgg(figure)
    set_fonts(figure)
    if layout := figure.get_layout_engine():  # once: matplotlib would repeat it for each file
        layout.execute(figure)
        figure.set_layout_engine(None)
    # In .svg and .pdf, keep the pictures of an axes separate: combined, they would be resampled.
    with (
        rc_context({"svg.hashsalt": path.stem, "image.composite_image": False}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # `set_fonts` warns
        with files.replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], **options)
