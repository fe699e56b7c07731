"""Contact sheets: what the branches see, to be looked at before a GPU-day is spent."""

import math
import textwrap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from morefromless.data.nuclei import ARRAY
from morefromless.modalities import Modality
from morefromless.modalities.full import Full
from morefromless.modalities.nuclei import Nuclei
from morefromless.pairs import augmentation
from morefromless.report.style import write_figure
from morefromless.views import Views

_CELL = 1.5
"""Side of a picture in inches; with the resolution below, 240 pixels: more than a patch has."""
_DPI = 160
_GAP, _LEFT, _TOP, _BOTTOM = 0.08, 1.0, 0.5, 0.12
_FRAME = "0.2"


def contact_sheet(
    columns: Mapping[str, Tensor],
    row_titles: Sequence[str],
    path: Path,
    caption: str,
    frames: Sequence[Sequence[str]] = (),
    widths: Mapping[str, float] | None = None,
) -> None:
    """Write a `sheet`, whole or not at all, in the form that its name ends in: .png or .pdf."""
    write_figure(sheet(columns, row_titles, caption, frames, widths), path, path.suffix[1:])


def sheet(
    columns: Mapping[str, Tensor],
    row_titles: Sequence[str],
    caption: str,
    frames: Sequence[Sequence[str]] = (),
    widths: Mapping[str, float] | None = None,
) -> Figure:
    """A figure with one row per patch and one column per way of seeing it.

    `columns` maps a column's title to (R, 3, S, S) images in [0, 1]; S may differ between columns
    and pixels are drawn as squares, never smoothed. `row_titles` are R labels (class names) at
    the left, `caption` a line or two below. Each of `frames` names neighbouring columns whose
    pictures have a common frame in every row. `widths` are those of a column's patches in µm, for a
    scale bar in its first picture.
    """
    rows = len(row_titles)
    for title, images in columns.items():
        if images.ndim != 4 or images.shape[:2] != (rows, 3):
            raise ValueError(f"column '{title}' is {tuple(images.shape)}, not ({rows}, 3, S, S)")
    step = _CELL + _GAP
    width = _LEFT + len(columns) * step
    lines = textwrap.wrap(caption, width=max(30, int(width * 13)))
    bottom = _BOTTOM + 0.2 * len(lines)
    height = _TOP + rows * step + bottom
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))  # one for all, in inches: an axes a picture takes seconds
    lefts = {title: _LEFT + number * step for number, title in enumerate(columns)}
    lows = [height - _TOP - (row + 1) * step + _GAP for row in range(rows)]
    for title, images in columns.items():
        pictures = (images.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).cpu()
        for low, picture in zip(lows, pictures.permute(0, 2, 3, 1).numpy(), strict=True):
            place = (lefts[title], lefts[title] + _CELL, low, low + _CELL)
            axes.imshow(picture, interpolation="nearest", extent=place)
        axes.text(
            lefts[title] + _CELL / 2,
            height - _TOP + _GAP,
            "\n".join(textwrap.wrap(title.replace(",", ", "), 23)),
            ha="center",
            va="bottom",
            fontsize=8,
        )
    for title, width_um in (widths or {}).items():
        length = round_length(width_um / 2)
        left, right = lefts[title] + 0.06, lefts[title] + 0.06 + _CELL * length / width_um
        for width_pt, colour in ((3.5, "white"), (1.8, "black")):
            axes.plot([left, right], [lows[0] + 0.07] * 2, colour, linewidth=width_pt)
        words = axes.text(left, lows[0] + 0.11, f"{length:g} µm", fontsize=6)
        words.set_path_effects([withStroke(linewidth=1.5, foreground="white")])
    for framed in frames:
        for low in lows:
            corner = (lefts[framed[0]] - _GAP / 2, low - _GAP / 2)
            axes.add_patch(
                Rectangle(corner, len(framed) * step, step, fill=False, edgecolor=_FRAME)
            )
    for low, label in zip(lows, row_titles, strict=True):
        text = "\n".join(textwrap.wrap(label, 12))
        axes.text(_LEFT - 0.1, low + _CELL / 2, text, ha="right", va="center", fontsize=9)
    axes.text(0.1, bottom, "\n".join(lines), ha="left", va="top", fontsize=8)
    axes.set(xlim=(0, width), ylim=(0, height), aspect="auto")
    axes.set_axis_off()
    return figure


def round_length(longest: float) -> float:
    """The longest of 1, 2, 5, 10 ... that is no longer.

    >>> round_length(112), round_length(0.3)
    (100.0, 0.2)
    """
    power = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest)


def seen_columns(
    stored: Mapping[str, Tensor],
    modalities: Mapping[str, Modality],
    views: Views,
    size: int,
    draws: int,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """The usual columns: the stored patch, what each modality shows, then `draws` times a view of
    each, as one step of training draws them.

    `stored` maps an array's name to (R, H, H, 3) uint8; `modalities` maps a title, such as
    `downsample:7`, to the modality. `size` is the side of the network's input.
    """
    columns = {}
    for name in dict.fromkeys(modality.array for modality in modalities.values()):
        title = stored_title(name, stored)
        if stored[name].ndim == 2:  # a vector is shown as it is seen
            continue
        reader = next(how for how in modalities.values() if how.array == name)
        shown = reader if not (reader.colour or reader.labels) else Full(name)
        shown = Nuclei("colour") if name == ARRAY else shown
        columns[title] = shown.to_rgb(shown.render(stored[name], stored[name].shape[1]))
    rendered = {
        title: modality.render(stored[modality.array], size)
        for title, modality in modalities.items()
    }
    columns.update({title: modalities[title].to_rgb(images) for title, images in rendered.items()})
    drawn_by = {title: augmentation(views, modality) for title, modality in modalities.items()}
    for draw in range(1, draws + 1):
        for title, images in rendered.items():
            view = drawn_by[title](images, generator)
            columns[view_title(title, draw)] = modalities[title].to_rgb(view)
    return columns


def stored_title(name: str, stored: Collection[str]) -> str:
    """The title of the column of an array, one of those that are shown."""
    return "stored" if len(stored) == 1 else f"stored {name}"


def view_title(title: str, draw: int) -> str:
    """The title of a modality's column of views, counted from 1."""
    return f"{title} view {draw}"
