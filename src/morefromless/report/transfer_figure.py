"""The figure of `mfl transfer`: every encoder's accuracy, with intervals, over the floors."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morefromless.comparison.transfer import Cell, Transfer
from morefromless.report.figures import Line, curves_figure
from morefromless.report.style import COLOURS, MARKERS, save

FLOORS = {"majority": ":", "mean-rgb": "--", "colour-histogram": "-", "random encoder": "-."}


def write_figure(found: Transfer, folder: Path) -> list[Path]:
    """`transfer`, a panel a task and modality and a line an encoder; and `curves` of all methods,
    on the first task, where learning curves were drawn."""
    panels = list(dict.fromkeys((cell.task, cell.modality) for cell in found.cells))
    titles = list(dict.fromkeys(cell.method.title for cell in found.cells))
    figure = Figure(
        figsize=(2.2 + 2.9 * len(panels), 1.6 + 0.26 * len(titles)), layout="constrained"
    )
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0])
    for one, (task, modality) in zip(axes, panels, strict=True):
        cells = [c for c in found.cells if (c.task, c.modality) == (task, modality)]
        _panel(one, cells, titles)
        for floor in found.floors[task]:
            if floor.modality == modality:
                height = 100 * floor.accuracy.estimate
                look = FLOORS[floor.name]
                one.axvline(
                    height,
                    color="0.6",
                    linewidth=1,
                    linestyle=look,
                    zorder=0,
                    label=f"floor: {floor.name}",
                )
        one.set_title(f"{task} from {modality}", fontsize=9)
        one.set_xlabel("accuracy on test patches (%)")
        one.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(titles)), titles, fontsize=8)
    axes[0].set_ylim(len(titles) - 0.4, -0.6)
    lines, names = axes[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    curves = _curves(found)
    return [
        *save(figure, folder / "transfer"),
        *(save(curves, folder / "curves") if curves else []),
    ]


def _curves(found: Transfer) -> Figure | None:
    """A panel a modality and objective; supervised encoders of each task stand in all."""
    panels: dict[str, list[Line]] = {}
    for seen in found.options.modalities:
        for objective in found.options.objectives:
            methods = [
                m
                for m in dict.fromkeys(one.method for one in found.runs)
                if m.learnt == objective
                or (m.kind, m.learnt) == ("supervised", found.options.tasks[0])
            ]
            panels[f"{seen}, {objective}"] = [
                (
                    m.kind + (f", {m.sharing}" if m.sharing else ""),
                    (m.kind, m.sharing),
                    [
                        (one.run, one.branch(seen))
                        for one in found.runs
                        if one.method == m and seen in one.modalities
                    ],
                )
                for m in methods
            ]
    return curves_figure(panels)


def _panel(axes: Axes, cells: list[Cell], titles: list[str]) -> None:
    for cell in cells:
        found, method = cell.accuracy, cell.method
        bars = [
            [max(0.0, 100 * (found.estimate - found.low))],
            [max(0.0, 100 * (found.high - found.estimate))],
        ]
        axes.errorbar(
            [100 * found.estimate],
            [titles.index(method.title)],
            xerr=bars,
            color=COLOURS[method.kind],
            marker=MARKERS[method.sharing],
            markersize=5,
            capsize=2.5,
            linewidth=1.3,
        )
