"""Heat maps of CKA between layers, and its course through the network (paper, Fig. 2)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from morefromless.analysis.similarity import LayerCka
from morefromless.report.style import AMOUNTS, save


def write_heat_maps(found: Sequence[LayerCka], stem: Path) -> list[Path]:
    """A panel every two arms, in a triangle: means over combinations of runs, in [0, 1].

    The numbers have each layer pair's mean, standard deviation and number of combinations.
    """
    arms = list(dict.fromkeys(arm for one in found for arm in (one.a, one.b)))
    single = len(found) == 1
    side = 4.2 if single else 1.9
    wide = 1 if single else len(arms)
    figure = Figure(figsize=(0.9 + side * wide, 0.6 + side * wide), layout="constrained")
    panels = figure.subplots(wide, wide, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for one in found:
        row, column = (0, 0) if single else (arms.index(one.b), arms.index(one.a))
        axes = panels[row, column]
        axes.set_axis_on()
        if one.equal_seeds:
            axes.set_title("equal seeds", fontsize=7)
        # Layers of `a` along x, of `b` upwards, the input's side at the lower left.
        axes.imshow(one.mean.T, origin="lower", cmap=AMOUNTS, vmin=0, vmax=1, aspect="auto")
        if single:
            _name_layers(axes, one)
        else:
            axes.set_xticks([])
            axes.set_yticks([])
        if row == wide - 1 or single:
            axes.set_xlabel(one.a, fontsize=8)
        if column == 0 or single:
            axes.set_ylabel(one.b, fontsize=8)
    shades = ScalarMappable(Normalize(0, 1), AMOUNTS)
    figure.colorbar(shades, ax=panels, shrink=0.6, label="CKA")
    return save(figure, stem, _numbers(found))


def write_diagonals(found: Sequence[LayerCka], stem: Path) -> list[Path]:
    """CKA of the same layer in both, from input to output; bands are ± one standard deviation.

    The left panel has each arm with itself (other seeds), the right one every two arms; a panel
    that would be empty is left out.
    """
    within = [one for one in found if one.a == one.b]
    between = [one for one in found if one.a != one.b and one.diagonal.size]
    parts = {"within an arm": within, "between arms": between}
    parts = {title: part for title, part in parts.items() if part} or {"between arms": []}
    figure = Figure(figsize=(5.5 * len(parts), 4), layout="constrained")
    panels = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
    for axes, (title, chosen) in zip(panels, parts.items(), strict=True):
        for number, one in enumerate(chosen):
            mean = one.diagonal.mean(axis=0)
            spread = one.diagonal.std(axis=0, ddof=1 if len(one.diagonal) > 1 else 0)
            depth = np.arange(1, len(mean) + 1)
            label = one.a if one.a == one.b else f"{one.a} – {one.b}"
            label += " (equal seeds)" * one.equal_seeds
            (line,) = axes.plot(
                depth,
                mean,
                linewidth=1.4,
                label=label,
                linestyle=("-", "--", ":", "-.")[number // 8 % 4],
            )
            if len(chosen) <= 7:  # more bands than that hide each other
                axes.fill_between(
                    depth,
                    mean - spread,
                    mean + spread,
                    color=line.get_color(),
                    alpha=0.15,
                    linewidth=0,
                )
        if len(parts) > 1:
            axes.set_title(title, fontsize=9)
        axes.set_xlabel("layer, from input to output")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(min(0, axes.get_ylim()[0]), 1.02)
        if chosen:
            axes.legend(fontsize=6, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    panels[0].set_ylabel("CKA of the same layer")
    return save(figure, stem, _diagonal_numbers(found))


def short(layer: str) -> str:
    """A layer's name without what all share.

    >>> short("network.layer1.0.conv1")
    'layer1.0.conv1'
    """
    return layer.removeprefix("network.")


def _name_layers(axes: Axes, one: LayerCka) -> None:
    for axis, names in ((axes.xaxis, one.rows), (axes.yaxis, one.columns)):
        at = range(0, len(names), max(1, len(names) // 24))
        axis.set_ticks(list(at), [short(names[i]) for i in at], fontsize=6)
    axes.tick_params(axis="x", rotation=90)


def _numbers(found: Sequence[LayerCka]) -> pd.DataFrame:
    parts = []
    for one in found:
        rows, columns = np.meshgrid(
            np.arange(len(one.rows)), np.arange(len(one.columns)), indexing="ij"
        )
        parts.append(
            pd.DataFrame(
                {
                    "a": one.a,
                    "b": one.b,
                    "layer_a": np.array(one.rows, dtype=object)[rows.ravel()],
                    "layer_b": np.array(one.columns, dtype=object)[columns.ravel()],
                    "cka": one.mean.ravel(),
                    "sd": one.spread.ravel(),
                    "combinations": len(one.each),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _diagonal_numbers(found: Sequence[LayerCka]) -> pd.DataFrame:
    return pd.DataFrame(
        {"a": one.a, "b": one.b, "layer": layer, "combination": number, "cka": value}
        for one in found
        for number, values in enumerate(one.diagonal)
        for layer, value in zip(
            [name for name in one.rows if name in one.columns], values, strict=True
        )
    )
