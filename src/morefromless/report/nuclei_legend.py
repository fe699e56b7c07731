"""The legend of exported nuclei: the colour and the number of each type."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from morefromless.data.colours import type_colours
from morefromless.data.store import Store
from morefromless.report.style import write_figure

_LINE = 0.3
"""Height of a type's line in inches."""


def write_legend(store: Store, folder: Path) -> Path:
    """Write `legend.png` with one line per type of the store's scheme, without the background."""
    types = store.scheme.types
    nuclei = store.nuclei
    counts = nuclei.loc[nuclei["counted"], "type"].value_counts()
    figure = Figure(figsize=(3.6, _LINE * len(types)), dpi=160, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 12), ylim=(len(types), 0))
    axes.set_axis_off()
    colours = type_colours(len(types))
    for code in range(1, len(types)):
        colour = tuple(value / 255 for value in colours[code])
        swatch = (0.5, code - 0.3)
        axes.add_patch(Rectangle(swatch, 0.9, 0.6, facecolor=colour, linewidth=0))
        axes.text(1.8, code, f"{types[code]}: {counts.get(code, 0):,}", va="center", fontsize=10)
    path = folder / "legend.png"
    write_figure(figure, path)
    return path
