"""The comparison's figures: accuracy against information density, and the learning curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morefromless.comparison.compare import Comparison
from morefromless.comparison.results import Row, curve_of
from morefromless.report.style import COLOURS, MARKERS, STYLES, save
from morefromless.runs import Run


def write_figures(comparison: Comparison, folder: Path) -> list[Path]:
    """`density` always, `curves` where learning curves were drawn; each as SVG and PNG."""
    made = save(_density(comparison), folder / "density")
    curves = _curves(comparison)
    return made + (save(curves, folder / "curves") if curves else [])


def _density(comparison: Comparison) -> Figure:
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    rows = [r for r in comparison.rows if r.branch == "primary" and r.resolution]
    titles = list(dict.fromkeys(row.title for row in rows))
    for number, title in enumerate(titles):
        points = sorted((r for r in rows if r.title == title), key=lambda row: row.resolution)
        arm = points[0].arm
        # Arms stand side by side, so that their intervals can be told apart.
        shift = 1.025 ** (number - (len(titles) - 1) / 2)
        middle = np.array([100 * p.accuracy.estimate for p in points])
        low, high = (
            np.array([100 * getattr(p.accuracy, bound) for p in points])
            for bound in ("low", "high")
        )
        bars = [middle - low, high - middle]
        axes.errorbar(
            [p.resolution * shift for p in points],
            middle,
            yerr=np.clip(bars, 0, None),
            label=title,
            color=COLOURS[arm.kind],
            linestyle=STYLES[arm.sharing],
            marker=MARKERS[arm.sharing],
            markersize=5,
            capsize=2.5,
            linewidth=1.3,
        )
    _floor_lines(axes, comparison, rows)
    sides = sorted({row.resolution for row in rows})
    axes.set_xscale("log")
    axes.set_xticks(sides, [_tick(next(r for r in rows if r.resolution == s)) for s in sides])
    axes.minorticks_off()
    if len(sides) == 1:
        axes.set_xlim(sides[0] * 0.8, sides[0] * 1.25)
    axes.set_xlabel("information in the primary modality (side in px)")
    axes.set_ylabel("accuracy on test patches (%)")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _floor_lines(axes: Axes, comparison: Comparison, rows: Sequence[Row]) -> None:
    """Floors as short grey bars beside the arms that they belong to.

    The majority's is left to the table: it would take most of the height for itself.
    """
    # Floors often lie close together: each name has a place of its own along its bar.
    places = {
        "mean-rgb": ("left", 1 / 1.12),
        "colour-histogram": ("center", 1.0),
        "random encoder": ("right", 1.12),
    }
    for floor in comparison.floors:
        at = [row.resolution for row in rows if row.modality == floor.modality]
        if not at or floor.name not in places:
            continue
        side, place = places[floor.name]
        height = 100 * floor.accuracy.estimate
        axes.plot([at[0] / 1.12, at[0] * 1.12], [height, height], color="0.65", linewidth=1)
        axes.annotate(
            floor.name,
            (at[0] * place, height),
            xytext=(0, 1.5),
            textcoords="offset points",
            fontsize=6,
            color="0.4",
            ha=side,
        )


def _tick(row: Row) -> str:
    return f"{row.resolution}" + (f"\n{row.um_per_px:.3g} µm/px" if row.um_per_px else "")


def _curves(comparison: Comparison) -> Figure | None:
    return curves_figure(
        {
            primary: [
                (
                    arm.title,
                    (arm.kind, arm.sharing),
                    [(p.run, "primary") for p in comparison.planned if p.arm == arm],
                )
                for arm in dict.fromkeys(p.arm for p in comparison.planned)
                if arm.primary == primary
            ]
            for primary in comparison.options.primary
        }
    )


Line = tuple[str, tuple[str, str | None], list[tuple[Run, str]]]
"""Title, kind and sharing, and the runs with the branch whose curve is meant."""


def curves_figure(panels: Mapping[str, Sequence[Line]]) -> Figure | None:
    """Learning curves: a panel a title, a line the mean of several runs; None where none was drawn.

    Thin lines are the runs.
    """
    figure = Figure(figsize=(1.8 + 3.6 * len(panels), 3.6), layout="constrained")
    drawn = False
    every = np.atleast_1d(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0])
    for axes, (title, lines) in zip(every, panels.items(), strict=True):
        for label, (kind, sharing), branches in lines:
            curves = [curve for one in branches if (curve := curve_of(*one)) is not None]
            if not curves:
                continue
            drawn = True
            look = {"color": COLOURS[kind], "linestyle": STYLES[sharing]}
            for curve in curves:
                axes.plot(curve["step"], 100 * curve["accuracy"], linewidth=0.5, alpha=0.4, **look)
            length = min(map(len, curves))
            mean = np.mean([c["accuracy"].to_numpy()[:length] for c in curves], axis=0)
            axes.plot(curves[0]["step"][:length], 100 * mean, linewidth=1.8, label=label, **look)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("training steps")
        axes.spines[["top", "right"]].set_visible(False)
    if not drawn:
        return None
    every[0].set_ylabel("ridge probe on test patches (%)")
    every[-1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
