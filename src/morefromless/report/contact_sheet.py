"""Contact sheets: what the branches see, to be looked at before a GPU-day is spent."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
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
) -> None:
    """Write a `sheet`, whole or not at all, in the form that its name ends in: .png or .pdf."""
    write_figure(sheet(columns, row_titles, caption, frames), path, path.suffix[1:])


def sheet(
    columns: Mapping[str, Tensor],
    row_titles: Sequence[str],
    caption: str,
    frames: Sequence[Sequence[str]] = (),
) -> Figure:
    """A figure with one row per patch and one column per way of seeing it.

    `columns` maps a column's title to (R, 3, S, S) images in [0, 1]; S may differ between columns
    and pixels are drawn as squares, never smoothed. `row_titles` are R labels (class names) at
    the left, `caption` a line or two below. Each of `frames` names neighbouring columns whose
    pictures have a common frame in every row.
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
    for column, (title, images) in enumerate(columns.items()):
        pictures = (images.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).cpu()
        for row, picture in enumerate(pictures.permute(0, 2, 3, 1).numpy()):
            left, low = _LEFT + column * step, height - _TOP - (row + 1) * step + _GAP
            axes = figure.add_axes((left / width, low / height, _CELL / width, _CELL / height))
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
            if row == 0:
                axes.set_title("\n".join(textwrap.wrap(title.replace(",", ", "), 23)), fontsize=8)
    titles = list(columns)
    for framed in frames:
        left = _LEFT + titles.index(framed[0]) * step - _GAP / 2
        for row in range(rows):
            low = height - _TOP - (row + 1) * step + _GAP / 2
            frame = Rectangle(
                (left / width, low / height),
                len(framed) * step / width,
                step / height,
                fill=False,
                linewidth=1,
                edgecolor=_FRAME,
            )
            figure.add_artist(frame)
    for row, label in enumerate(row_titles):
        middle = height - _TOP - (row + 0.5) * step + _GAP / 2
        text = "\n".join(textwrap.wrap(label, 12))
        figure.text(
            (_LEFT - 0.1) / width, middle / height, text, ha="right", va="center", fontsize=9
        )
    if lines:
        figure.text(0.1 / width, bottom / height, "\n".join(lines), ha="left", va="top", fontsize=8)
    return figure


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
        title = "stored" if len(stored) == 1 else f"stored {name}"
        if stored[name].ndim == 2:  # a vector is shown as it is seen
            continue
        seen_as = next(how for how in modalities.values() if how.array == name)
        shown = seen_as if not (seen_as.colour or seen_as.labels) else Full(name)
        shown = Nuclei("colour") if name == ARRAY else shown
        columns[title] = shown.to_rgb(shown.render(stored[name], stored[name].shape[1]))
    seen = {
        title: modality.render(stored[modality.array], size)
        for title, modality in modalities.items()
    }
    columns.update({title: modalities[title].to_rgb(images) for title, images in seen.items()})
    drawn_by = {title: augmentation(views, modality) for title, modality in modalities.items()}
    for draw in range(1, draws + 1):
        for title, images in seen.items():
            view = drawn_by[title](images, generator)
            columns[view_title(title, draw)] = modalities[title].to_rgb(view)
    return columns


def view_title(title: str, draw: int) -> str:
    """The title of a modality's column of views, counted from 1."""
    return f"{title} view {draw}"
