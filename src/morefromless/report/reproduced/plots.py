"""Figures that are drawn from the numbers: accuracy against information, labels and pairs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morefromless.experiments import Number, table1
from morefromless.report.reproduced.content import Picture, picture
from morefromless.report.reproduced.grid import WHOLE, side
from morefromless.report.reproduced.left import Finished
from morefromless.report.style import COLOURS, MARKERS, STYLES, save

PAPER = "paper"
PAPERS = {("asymmetric", "independent"): 0, ("symmetric", "shared"): 1, ("supervised", None): 2}
"""Arms of the paper's Table 1, and their places in its rows."""
APART = 1.025
"""Factor between neighbouring arms along x, so that their intervals can be told apart."""
NEAR = 1.25
"""Factor within which two ticks would run into each other."""

Look = tuple[str, str | None]
"""Kind of an arm and its sharing, which say its colour, style and marker."""
Lines = Mapping[Look, Sequence[tuple[float, Number]]]
"""Points of each arm: x, and the number."""


def draw(found: Finished, out: Path, whole: int, comparable: bool) -> list[Picture]:
    """The experiment's own figures, written to `out/report` and ready for the page.

    `whole` is the side in px of what an encoder sees of a whole patch.
    """
    if found.name == "table1" and found.numbers:
        return [_density(found, out, whole, comparable)]
    if found.name in ("few-labels", "few-pairs") and found.numbers:
        return [_shares(found, out, found.name.partition("-")[2])]
    return []


def _density(found: Finished, out: Path, whole: int, comparable: bool) -> Picture:
    figure, axes = _axes()
    ours = _lines(found.numbers, lambda n: whole if n.row == WHOLE else side(n.row))
    _draw(axes, ours)
    sides = list(table1.PUBLISHED)
    for (kind, sharing), place in PAPERS.items():
        axes.plot(
            sides,
            [100 * told[place] for told in table1.PUBLISHED.values()],
            label=PAPER + ": " + _title(kind, sharing),
            color=COLOURS[kind],
            linestyle=":",
            linewidth=1.2,
            marker=MARKERS[sharing],
            markersize=5,
            markerfacecolor="white",
        )
    own = {x for line in ours.values() for x, _ in line}
    far = [px for px in sides if all(not 1 / NEAR < px / one < NEAR for one in own)]
    _finish(figure, axes, sorted({*own, *far}), "{:.0f}")
    axes.set_xlabel("side of the patch in px, before it is brought to the encoder's")
    published = [
        {"source": PAPER, "kind": kind, "sharing": sharing, "side_px": px, "accuracy": told[place]}
        for (kind, sharing), place in PAPERS.items()
        for px, told in table1.PUBLISHED.items()
    ]
    save(
        figure,
        out / "report" / "table1-density",
        pd.DataFrame([*_rows(ours, "side_px"), *published]),
    )
    other = "" if comparable else " The two are of different scale or data."
    return picture(
        out,
        "report/table1-density.svg",
        "Accuracy against information density. Filled: ours, with intervals; open and dotted: the "
        f"paper's single runs.{other}",
        "Lines of accuracy against the side of down-sampled patches, on a logarithmic axis, for "
        "asymmetric, symmetric and supervised training; the numbers are in the table above.",
    )


def _shares(found: Finished, out: Path, what: str) -> Picture:
    figure, axes = _axes()
    ours = _lines(found.numbers, lambda n: float(n.row.partition("%")[0]))
    _draw(axes, ours)
    _finish(figure, axes, sorted({x for line in ours.values() for x, _ in line}), "{:g} %")
    axes.set_xlabel(f"share of {what}")
    save(figure, out / "report" / found.name, pd.DataFrame(_rows(ours, "per_cent")))
    return picture(
        out,
        f"report/{found.name}.svg",
        f"Accuracy against the share of {what}, with intervals.",
        f"Lines of accuracy against the share of {what}, on a logarithmic axis, one for each way "
        "of training; the numbers are in the table above.",
    )


def _lines(numbers: Sequence[Number], x: Callable[[Number], float]) -> Lines:
    """Numbers of known arms that have a place on a logarithmic axis, from left to right."""
    lines: dict[Look, list[tuple[float, Number]]] = {}
    for number in numbers:
        kind, _, sharing = number.column.partition(", ")
        if kind in COLOURS and (sharing or None) in STYLES and x(number) > 0:
            lines.setdefault((kind, sharing or None), []).append((x(number), number))
    return {look: sorted(line, key=lambda point: point[0]) for look, line in lines.items()}


def _rows(lines: Lines, x: str) -> list[dict[str, object]]:
    return [
        {
            "source": "ours",
            "kind": kind,
            "sharing": sharing,
            x: at,
            "accuracy": n.ours.estimate,
            "low": n.ours.low,
            "high": n.ours.high,
            "seeds": " ".join(f"{s:.4f}" for s in n.seeds),
        }
        for (kind, sharing), line in lines.items()
        for at, n in line
    ]


def _draw(axes: Axes, lines: Lines) -> None:
    for place, ((kind, sharing), line) in enumerate(lines.items()):
        shift = APART ** (place - (len(lines) - 1) / 2)
        middle, low, high = (
            np.array([100 * getattr(n.ours, bound) for _, n in line])
            for bound in ("estimate", "low", "high")
        )
        axes.errorbar(
            [x * shift for x, _ in line],
            middle,
            yerr=np.stack([middle - low, high - middle]).clip(0),
            label=_title(kind, sharing),
            color=COLOURS[kind],
            linestyle=STYLES[sharing],
            marker=MARKERS[sharing],
            markersize=5,
            capsize=2.5,
            linewidth=1.3,
        )


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.0, 5.0), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_ylabel("accuracy on test patches (%)")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _finish(figure: Figure, axes: Axes, ticks: Sequence[float], form: str) -> None:
    """Ticks, and a legend below, ours before the paper's."""
    axes.set_xticks(ticks, [form.format(tick) for tick in ticks])
    axes.minorticks_off()
    if len(ticks) == 1:
        axes.set_xlim(ticks[0] / NEAR, ticks[0] * NEAR)
    told = zip(*axes.get_legend_handles_labels(), strict=True)
    ordered = sorted(told, key=lambda one: one[1].startswith(PAPER))
    figure.legend(
        [handle for handle, _ in ordered],
        [label for _, label in ordered],
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=9,
    )


def _title(kind: str, sharing: str | None) -> str:
    return f"{kind}, {sharing}" if sharing else kind
