"""Maps of features: each encoder's own, by class and by group, and two encoders' in one space."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morefromless.analysis.maps import plane, together
from morefromless.report.style import PAGE, save

# Okabe and Ito's eight; with more classes the marker tells those of one colour apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
SHAPES = ("o", "^", "s", "D")
LETTERS = 20
"""Of a name in a key at most."""


def write_map(
    features: Mapping[str, npt.NDArray[np.float32]],
    ids: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str] | None,
    stem: Path,
    how: str = "pca",
    seed: int = 0,
) -> list[Path]:
    """Columns are encoders, and both in one space; rows are colourings, by label and by group.

    `features` are (N, D) of the same N patches by encoder; the last column, of two encoders, is
    coloured by encoder, a line joining each patch's two places (a few hundred of them).
    """
    separate = {title: plane(values, how, seed) for title, values in features.items()}
    colourings = {"label": labels} | ({"group": groups} if groups is not None else {})
    both = len(features) == 2
    wide = len(separate) + both
    side = max(2.0, min(3.2, (PAGE - 1.2) / wide))
    size = (side * wide + 1.2, side * len(colourings) + 0.2)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(colourings), wide, squeeze=False)
    for row, (name, values) in enumerate(colourings.items()):
        for axes, (title, places) in zip(panels[row], separate.items(), strict=False):
            _scatter(axes, places, values)
            axes.set_title(f"{title}\nby {name}", fontsize=7)
        _legend(panels[row, len(separate) - 1], name)
    numbers = [_numbers(title, places, ids, labels, groups) for title, places in separate.items()]
    if both:
        for axes in panels[1:, -1]:
            axes.set_axis_off()
        joint = _joint(panels[0, -1], features, how, seed)
        numbers += [
            _numbers(f"{title}, in one space", places, ids, labels, groups)
            for title, places in joint.items()
        ]
    return save(figure, stem, pd.concat(numbers, ignore_index=True))


def _scatter(axes: Axes, places: npt.NDArray[np.float64], values: Sequence[str]) -> None:
    names = sorted(set(values))
    many = len(names) > len(COLOURS) * len(SHAPES)
    kinds = np.asarray(values, dtype=object)
    for number, name in enumerate(names):
        colour = colormaps["viridis"](number / len(names)) if many else COLOURS[number % 8]
        shape = "o" if many else SHAPES[number // 8]
        mine = places[kinds == name]
        axes.scatter(
            mine[:, 0],
            mine[:, 1],
            s=5,
            color=colour,
            marker=shape,
            alpha=0.6,
            linewidths=0,
            label=name,
            rasterized=True,
        )
    _bare(axes)


def _joint(
    axes: Axes, features: Mapping[str, npt.NDArray[np.float32]], how: str, seed: int
) -> dict[str, npt.NDArray[np.float64]]:
    first, second = together(*features.values())
    places = plane(np.concatenate([first, second]), how, seed)
    halves = dict(zip(features, np.split(places, 2), strict=True))
    a, b = halves.values()
    step = max(1, len(a) // 300)
    axes.plot(
        *np.stack([a[::step], b[::step]]).transpose(2, 0, 1),
        color="0.6",
        linewidth=0.4,
        alpha=0.5,
        zorder=0,
    )
    for number, (title, half) in enumerate(halves.items()):
        axes.scatter(
            half[:, 0],
            half[:, 1],
            s=5,
            color=("#D55E00", "#0072B2")[number],
            alpha=0.5,
            marker=("o", "^")[number],
            linewidths=0,
            label=title,
            rasterized=True,
        )
    axes.set_title("both in one space\nby encoder", fontsize=7)
    _bare(axes)
    _legend(axes, "encoder")
    return halves


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[["top", "right"]].set_visible(False)


def _legend(axes: Axes, title: str) -> None:
    handles, names = axes.get_legend_handles_labels()
    if len(names) <= 16:
        axes.legend(
            handles,
            [name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…" for name in names],
            title=title,
            fontsize=6,
            title_fontsize=6,
            frameon=False,
            loc="upper left",
            bbox_to_anchor=(1, 1),
            markerscale=2,
        )


def _numbers(
    title: str,
    places: npt.NDArray[np.float64],
    ids: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str] | None,
) -> pd.DataFrame:
    columns = {"encoder": title, "id": list(ids), "label": list(labels)}
    if groups is not None:
        columns["group"] = list(groups)
    return pd.DataFrame({**columns, "x": places[:, 0], "y": places[:, 1]})
