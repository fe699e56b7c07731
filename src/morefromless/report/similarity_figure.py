"""Heat maps of CKA between layers, and CKA from input to output (paper, Fig. 2)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from morefromless.analysis.similarity import LayerCka, deviation
from morefromless.report.style import (
    COLOURS,
    PAGE_WIDTH,
    PALETTES,
    SEQUENTIAL_COLOURS,
    format_axes,
    line_styles,
    save,
)


def write_heat_maps(pairs: Sequence[LayerCka], stem: Path) -> list[Path]:
    """Write one panel per pair of arms, in a triangle: means over combinations of runs, in [0, 1].

    The CSV has the mean, standard deviation and number of combinations of each pair of layers.
    """
    arms = list(dict.fromkeys(arm for pair in pairs for arm in (pair.a, pair.b)))
    single = len(pairs) == 1
    grid_size = 1 if single else len(arms)
    side = 4.2 if single else max(1.2, min(1.9, (PAGE_WIDTH - 0.9) / grid_size))
    figure = Figure(figsize=(0.9 + side * grid_size, 0.6 + side * grid_size), layout="constrained")
    panels = figure.subplots(grid_size, grid_size, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for pair in pairs:
        row, column = (0, 0) if single else (arms.index(pair.b), arms.index(pair.a))
        axes = panels[row, column]
        axes.set_axis_on()
        if pair.equal_seeds:
            axes.set_title("equal seeds", fontsize=7)
        # Layers of `a` along x, of `b` along y, with the input at the lower left.
        axes.imshow(
            pair.mean.T, origin="lower", cmap=SEQUENTIAL_COLOURS, vmin=0, vmax=1, aspect="auto"
        )
        if single:
            _name_layers(axes, pair)
        else:
            _mark_stages(axes, "x", pair.rows, named=row == grid_size - 1)
            _mark_stages(axes, "y", pair.columns, named=column == 0)
        if row == grid_size - 1 or single:
            axes.set_xlabel(pair.a.replace(", ", ",\n"), fontsize=8)
        if column == 0 or single:
            axes.set_ylabel(pair.b.replace(", ", ",\n"), fontsize=8)
    shades = ScalarMappable(Normalize(0, 1), SEQUENTIAL_COLOURS)
    figure.colorbar(shades, ax=panels, shrink=0.6, label="CKA, shown from 0 to 1")
    return save(figure, stem, _numbers(pairs))


def write_diagonals(pairs: Sequence[LayerCka], stem: Path) -> list[Path]:
    """Write CKA of the same layer in both, from input to output, ± one standard deviation (bands).

    The first panel compares each arm with itself (other seeds), the next one pairs of arms. If
    there are more than `MAX_LINES` pairs, each first arm has its own panel. Empty panels are
    skipped.
    """
    within = [pair for pair in pairs if pair.a == pair.b]
    between = [pair for pair in pairs if pair.a != pair.b and pair.diagonal.size]
    pairs_by_panel = {"within an arm": within}
    if len(between) <= MAX_LINES:
        pairs_by_panel["between arms"] = between
    else:
        for pair in between:
            pairs_by_panel.setdefault(f"{pair.a} and", []).append(pair)
    pairs_by_panel = {title: part for title, part in pairs_by_panel.items() if part} or {
        "between arms": []
    }
    columns = min(2, len(pairs_by_panel))
    rows = -(-len(pairs_by_panel) // columns)
    figure = Figure(figsize=(PAGE_WIDTH * columns / 2, 3.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    colours = line_styles(_arm_and_variant(arm) for pair in pairs for arm in (pair.a, pair.b))
    for axes, (title, panel_pairs) in zip(panels, pairs_by_panel.items(), strict=False):
        for pair in panel_pairs:
            mean = pair.diagonal.mean(axis=0)
            spread = deviation(pair.diagonal)
            depth = np.arange(1, len(mean) + 1)
            first, second = colours[_arm_and_variant(pair.a)], colours[_arm_and_variant(pair.b)]
            if pair.a == pair.b:
                label, line = pair.a, {k: first[k] for k in ("color", "linestyle")}
            else:  # dashes and gaps have the colours of the two arms
                label = pair.b if len(between) > MAX_LINES else f"{pair.a} – {pair.b}"
                line = {"color": first["color"], "linestyle": (0, (4, 4))}
                line["gapcolor"] = second["color"] if second["color"] != first["color"] else "0.8"
            label += " (equal seeds)" * pair.equal_seeds
            axes.plot(depth, mean, linewidth=1.4, label=label, **line)
            axes.fill_between(
                depth, mean - spread, mean + spread, color=first["color"], alpha=0.12, linewidth=0
            )
        if len(pairs_by_panel) > 1:
            axes.set_title(title, fontsize=8)
        axes.set_xlabel("layer, from input to output")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        format_axes(axes)
        axes.set_ylim(min(0, axes.get_ylim()[0]), 1.02)
        if panel_pairs:
            axes.legend(fontsize=6, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.2))
    for axes in panels[len(pairs_by_panel) :]:
        axes.remove()
    for axes in panels[::columns]:
        axes.set_ylabel("CKA of the same layer", fontsize=8)
    return save(figure, stem, _diagonal_numbers(pairs))


MAX_LINES = 6
"""Maximum number of pairs of arms in one panel."""


def _arm_and_variant(arm: str) -> tuple[str, str]:
    """Split `asymmetric, shared` for `style.line_styles`; untrained encoders are a reference."""
    name, _, variant = arm.partition(", ")
    known = name in (*COLOURS, *PALETTES)
    return (name, variant) if known else ("reference", name)


def _mark_stages(axes: Axes, along: Literal["x", "y"], layers: Sequence[str], named: bool) -> None:
    """Draw lines between the stages of a network, and name the stages at the outer panels."""
    stages = [short_name(layer).split(".")[0] for layer in layers]
    starts = [n for n, stage in enumerate(stages) if not n or stage != stages[n - 1]]
    names = [stages[n] for n in starts]
    if not 1 < len(starts) <= MAX_STAGES:
        starts, names = [0], [""]
    ends = [*starts[1:], len(layers)]
    axis, line = (axes.xaxis, axes.axvline) if along == "x" else (axes.yaxis, axes.axhline)
    for start in starts[1:]:
        line(start - 0.5, color="white", linewidth=0.4)
    middles = [(start + end - 1) / 2 for start, end in zip(starts, ends, strict=True)]
    axis.set_ticks(middles, names if named else [""] * len(names), fontsize=5)
    axis.set_tick_params(length=0, labelrotation=90 if along == "x" else 0)


MAX_STAGES = 8
"""Maximum number of stages that are marked; a transformer has too many blocks."""


def short_name(layer: str) -> str:
    """A layer's name without the prefix that all share.

    >>> short_name("network.layer1.0.conv1")
    'layer1.0.conv1'
    """
    return layer.removeprefix("network.")


def _name_layers(axes: Axes, pair: LayerCka) -> None:
    for axis, names in ((axes.xaxis, pair.rows), (axes.yaxis, pair.columns)):
        positions = range(0, len(names), max(1, len(names) // 24))
        axis.set_ticks(list(positions), [short_name(names[i]) for i in positions], fontsize=6)
    axes.tick_params(axis="x", rotation=90)


def _numbers(pairs: Sequence[LayerCka]) -> pd.DataFrame:
    parts = []
    for pair in pairs:
        rows, columns = np.meshgrid(
            np.arange(len(pair.rows)), np.arange(len(pair.columns)), indexing="ij"
        )
        parts.append(
            pd.DataFrame(
                {
                    "a": pair.a,
                    "b": pair.b,
                    "layer_a": np.array(pair.rows, dtype=object)[rows.ravel()],
                    "layer_b": np.array(pair.columns, dtype=object)[columns.ravel()],
                    "cka": pair.mean.ravel(),
                    "sd": pair.spread.ravel(),
                    "combinations": len(pair.combinations),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _diagonal_numbers(pairs: Sequence[LayerCka]) -> pd.DataFrame:
    return pd.DataFrame(
        {"a": pair.a, "b": pair.b, "layer": layer, "combination": number, "cka": value}
        for pair in pairs
        for number, values in enumerate(pair.diagonal)
        for layer, value in zip(pair.shared, values, strict=True)
    )
