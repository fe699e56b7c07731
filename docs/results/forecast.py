"""Compare headroom and forecast with the measured gains, and test whether they order them.

    python docs/results/forecast.py controls headroom/* runs/strength-* runs/colorectal

The arguments are folders of `mfl headroom` and of `mfl compare`. The script pairs folders with the
same store and the same two modalities. It writes two blocks of the page and the figure
`forecast.svg`:

    gains     headroom, forecast and gain of asymmetric over symmetric training, per store
    order     Spearman's correlation of headroom and of forecast with the gain
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from fill import PAGES, outcomes
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from morefromless import files
from morefromless.errors import MoreFromLessError
from morefromless.evaluation.intervals import Interval
from morefromless.evaluation.results import Results
from morefromless.report.section import Section, fill_blocks, interval
from morefromless.report.style import PAGE_WIDTH, format_axes, write_figure
from morefromless.report.words import minus

CONTRAST = "asymmetric - symmetric, both independent"
LOOKS = {
    "controls": {"color": "#0072B2", "marker": "o"},
    "hand-crafted features": {"color": "#D55E00", "marker": "s"},
    "reference encoder": {"color": "#009E73", "marker": "D"},
}
RESAMPLES = 2000


@dataclass(frozen=True)
class Point:
    """Headroom, forecast and measured gain of one store and pair of modalities."""

    name: str
    look: str
    headroom: Interval
    forecast: Interval
    gain: Interval


def main(name: str, folders: list[Path]) -> None:
    """Write the page's blocks and its figure."""
    every = points(folders)
    page = PAGES / f"{name}.md"
    blocks = {"gains": table(every), "order": order(every)}
    files.write_text(page, fill_blocks(page.read_text(encoding="utf-8"), blocks))
    (PAGES / name).mkdir(exist_ok=True)
    write_figure(figure(every), PAGES / name / "forecast.svg", metadata={"Date": None})


def points(folders: list[Path]) -> list[Point]:
    """One point per headroom whose views a study used for training."""
    headrooms = [folder for folder in folders if (folder / "headroom.json").is_file()]
    studies = [Results.load(folder) for folder in folders if folder not in headrooms]
    found = []
    for numbers, study, contrast in outcomes(headrooms, studies):
        if contrast.name != CONTRAST:
            continue
        drawn = study.data.title.startswith("Synthetic")
        features = "reference encoder" if numbers["options"]["encoder"] else "hand-crafted features"
        store = Path(numbers["options"]["store"]).name
        found.append(
            Point(
                store if drawn else f"{store}, {numbers['options']['primary']}, {features}",
                "controls" if drawn else features,
                msgspec.convert(numbers["headroom"], Interval),
                msgspec.convert(numbers["forecast"], Interval),
                contrast.difference,
            )
        )
    return found


def table(every: Sequence[Point]) -> str:
    """One row per point, in points of accuracy."""
    rows = [
        (
            point.name,
            *(interval(v, signed=True) for v in (point.headroom, point.forecast, point.gain)),
        )
        for point in every
    ]
    return Section("", ("store", "headroom", "forecast", "gain"), rows).markdown().strip()


def order(every: Sequence[Point]) -> str:
    """Spearman's correlation with the gain, and its interval by resampling points: over the
    controls, and over all stores that were measured with hand-crafted features."""
    handmade = [point for point in every if point.look != "reference encoder"]
    controls = [point for point in handmade if point.look == "controls"]
    rows = []
    for name in ("headroom", "forecast"):
        for words, some in (("the controls", controls), ("controls and tissue", handmade)):
            pairs = np.array([(getattr(p, name).estimate, p.gain.estimate) for p in some])
            drawn = np.random.default_rng(0).integers(len(pairs), size=(RESAMPLES, len(pairs)))
            varied = [draw for draw in pairs[drawn] if (np.ptp(draw, axis=0) > 0).all()]
            bounds = np.quantile([spearmanr(draw).statistic for draw in varied], [0.025, 0.975])
            low, high = (minus(f"{bound:.2f}") for bound in bounds)
            value = minus(f"{spearmanr(pairs).statistic:.2f}")
            rows.append((name, words, str(len(pairs)), f"{value} [{low}, {high}]"))
    header = ("ordered by", "among", "pairs of views", "Spearman's correlation with the gain")
    return Section("", header, rows).markdown().strip()


def figure(every: Sequence[Point]) -> Figure:
    """Plot the gain against the headroom and against the forecast, with both intervals."""
    drawn = Figure(figsize=(PAGE_WIDTH, 3.4), layout="constrained")
    left, right = drawn.subplots(1, 2, sharey=True)
    _panel(left, every, "headroom")
    _panel(right, every, "forecast")
    left.set_ylabel("gain of asymmetric over\nsymmetric training (points)")
    drawn.legend(
        *left.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=7,
    )
    return drawn


def _panel(axes: Axes, every: Sequence[Point], name: str) -> None:
    for look, style in LOOKS.items():
        some = [point for point in every if point.look == look]
        if not some:
            continue
        x, y = ([getattr(p, which) for p in some] for which in (name, "gain"))
        axes.errorbar(
            [100 * v.estimate for v in x],
            [100 * v.estimate for v in y],
            xerr=_reach(x),
            yerr=_reach(y),
            linestyle="",
            markersize=5,
            linewidth=0.8,
            label=look if look == "controls" else f"colorectal, {look}",
            **style,  # type: ignore[arg-type]
        )
    low, high = axes.get_xlim()
    axes.plot([low, high], [low, high], color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.set_xlabel(f"{name} (points)")
    format_axes(axes)


def _reach(values: Sequence[Interval]) -> list[list[float]]:
    return [
        [100 * (v.estimate - v.low) for v in values],
        [100 * (v.high - v.estimate) for v in values],
    ]


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(f"Usage: python {sys.argv[0]} PAGE FOLDER ...")
    try:
        main(sys.argv[1], [Path(argument) for argument in sys.argv[2:]])
    except MoreFromLessError as error:
        sys.exit(str(error))
