"""Draw the README's picture: two views of one patch, and the results of both controls.

mfl demo --out runs/demo && python docs/picture.py --demo runs/demo --out docs/picture.png
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morefromless.data.store import Store
from morefromless.evaluation.results import Results
from morefromless.report.style import COLOURS, PAGE_WIDTH, format_axes

ARMS = ("asymmetric", "symmetric", "supervised")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"))
    parser.add_argument("--out", type=Path, default=Path("docs/picture.png"))
    args = parser.parse_args()
    figure = Figure(figsize=(PAGE_WIDTH, 2.3), layout="constrained", facecolor="white")
    axes = figure.subplots(1, 4, width_ratios=(1, 1, 1.25, 1.25))
    store = Store.open(args.demo / "store")
    row = store.indices("test")[0]
    titles = {
        "primary": "1  the routine view:\nalways there",
        "signal": "2  the dense view:\nonly in training",
    }
    for panel, (name, title) in zip(axes, titles.items(), strict=False):
        panel.imshow(np.asarray(store.array(name)[row]), interpolation="nearest")
        panel.set_title(title, fontsize=8)
        panel.set_axis_off()
    controls = {
        "positive": "3  the dense view knows more:\npairing must win",
        "negative": "4  it knows nothing more:\npairing must not win",
    }
    for panel, (control, title) in zip(axes[2:], controls.items(), strict=True):
        panel.set_title(title)
        bars(panel, Results.load(args.demo / control))
    figure.savefig(args.out, dpi=200, metadata={"Software": None})


def bars(axes: Axes, results: Results) -> None:
    """Accuracy on the routine view alone: one bar per arm with its interval; chance is dotted."""
    of_arm = {
        s.condition.arm: s.accuracy
        for s in results.select(lambda c: c.modality in results.config.primary)
    }
    for x, arm in enumerate(ARMS):
        value = of_arm[arm]
        axes.bar(x, 100 * value.estimate, color=COLOURS[arm], width=0.7)
        axes.plot([x, x], [100 * value.low, 100 * value.high], color="black", linewidth=1)
        axes.text(x + 0.08, 100 * value.high + 1, f"{100 * value.estimate:.0f}", fontsize=7)
    axes.axhline(100 * of_arm["majority"].estimate, color="0.4", linestyle=":", linewidth=1)
    names = ("paired with\nthe dense view", "paired with\nitself", "supervised")
    axes.set_xticks(range(len(ARMS)), names)
    axes.set_ylim(0, 100)
    axes.set_ylabel("routine view alone,\naccuracy %")
    format_axes(axes)
    axes.tick_params(axis="x", labelsize=6)


if __name__ == "__main__":
    main()
