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
STYLES = {
    "controls": {"color": "#0072B2", "marker": "o"},
    "hand-crafted features": {"color": "#D55E00", "marker": "s"},
    "reference encoder": {"color": "#009E73", "marker": "D"},
}
RESAMPLES = 2000


@dataclass(frozen=True)
class Point:
    """Headroom, forecast and measured gain of one store and pair of modalities."""

    name: str
    features: str
    headroom: Interval
    forecast: Interval
    gain: Interval


def main(name: str, folders: list[Path]) -> None:
    """Write the page's blocks and its figure."""
    points = load_points(folders)
    page = PAGES / f"{name}.md"
    blocks = {"gains": table(points), "order": order(points)}
    files.write_text(page, fill_blocks(page.read_text(encoding="utf-8"), blocks))
    (PAGES / name).mkdir(exist_ok=True)
    write_figure(figure(points), PAGES / name / "forecast.svg", metadata={"Date": None})


def load_points(folders: list[Path]) -> list[Point]:
    """One point per headroom whose views a study used for training."""
    headrooms = [folder for folder in folders if (folder / "headroom.json").is_file()]
    studies = [Results.load(folder) for folder in folders if folder not in headrooms]
    points = []
    for numbers, study, contrast in outcomes(headrooms, studies):
        if contrast.name != CONTRAST:
            continue
        synthetic = study.data.title.startswith("Synthetic")
        features = "reference encoder" if numbers["options"]["encoder"] else "hand-crafted features"
        store = Path(numbers["options"]["store"]).name
        points.append(
            Point(
                store if synthetic else f"{store}, {numbers['options']['primary']}, {features}",
                "controls" if synthetic else features,
                msgspec.convert(numbers["headroom"], Interval),
                msgspec.convert(numbers["forecast"], Interval),
                contrast.difference,
            )
        )
    return points


def table(points: Sequence[Point]) -> str:
    """One row per point, in points of accuracy."""
    rows = [
        (
            point.name,
            *(interval(v, signed=True) for v in (point.headroom, point.forecast, point.gain)),
        )
        for point in points
    ]
    return Section("", ("store", "headroom", "forecast", "gain"), rows).markdown().strip()


def order(points: Sequence[Point]) -> str:
    """Spearman's correlation with the gain, and its interval by resampling points: over the
    controls, and over all stores that were measured with hand-crafted features."""
    hand_crafted = [point for point in points if point.features != "reference encoder"]
    controls = [point for point in hand_crafted if point.features == "controls"]
    rows = []
    for name in ("headroom", "forecast"):
        for words, selected in (("the controls", controls), ("controls and tissue", hand_crafted)):
            pairs = np.array([(getattr(p, name).estimate, p.gain.estimate) for p in selected])
            resampled_rows = np.random.default_rng(0).integers(
                len(pairs), size=(RESAMPLES, len(pairs))
            )
            usable_draws = [
                draw for draw in pairs[resampled_rows] if (np.ptp(draw, axis=0) > 0).all()
            ]
            bounds = np.quantile(
                [spearmanr(draw).statistic for draw in usable_draws], [0.025, 0.975]
            )
            low, high = (minus(f"{bound:.2f}") for bound in bounds)
            value = minus(f"{spearmanr(pairs).statistic:.2f}")
            rows.append((name, words, str(len(pairs)), f"{value} [{low}, {high}]"))
    header = ("ordered by", "among", "pairs of views", "Spearman's correlation with the gain")
    return Section("", header, rows).markdown().strip()


def figure(points: Sequence[Point]) -> Figure:
    """Plot the gain against the headroom and against the forecast, with both intervals."""
    plot = Figure(figsize=(PAGE_WIDTH, 3.4), layout="constrained")
    left, right = plot.subplots(1, 2, sharey=True)
    _panel(left, points, "headroom")
    _panel(right, points, "forecast")
    left.set_ylabel("gain of asymmetric over\nsymmetric training (points)")
    plot.legend(
        *left.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=7,
    )
    return plot


def _panel(axes: Axes, points: Sequence[Point], name: str) -> None:
    for features, style in STYLES.items():
        selected = [point for point in points if point.features == features]
        if not selected:
            continue
        x, y = ([getattr(p, which) for p in selected] for which in (name, "gain"))
        axes.errorbar(
            [100 * v.estimate for v in x],
            [100 * v.estimate for v in y],
            xerr=_error_bars(x),
            yerr=_error_bars(y),
            linestyle="",
            markersize=5,
            linewidth=0.8,
            label=features if features == "controls" else f"colorectal, {features}",
            **style,  # type: ignore[arg-type]
        )
    low, high = axes.get_xlim()
    axes.plot([low, high], [low, high], color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.set_xlabel(f"{name} (points)")
    format_axes(axes)


def _error_bars(values: Sequence[Interval]) -> list[list[float]]:
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
