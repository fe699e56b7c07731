"""Contact sheets: the inputs of the branches, to check before a long training."""

import math
import re
import textwrap
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath
from torch import Tensor

from morefromless.data.nuclei import NUCLEI_ARRAY
from morefromless.modalities import Modality
from morefromless.modalities.full import Full
from morefromless.modalities.nuclei import Nuclei
from morefromless.pairs import augmentation
from morefromless.report.bars import Bars, bars_on_common_scale
from morefromless.views import Views, recording

Columns = Mapping[str, Tensor | Bars]
"""Title to (R, 3, S, S) images in [0, 1], or to bars of R vectors."""
Notes = Mapping[str, Sequence[str]]
"""Title of a column to R texts."""
ColourKey = Mapping[str, tuple[int, int, int]]
"""Meaning of a colour, to the colour in RGB."""

_PICTURE_SIDE = 1.5
"""Side of a picture in inches. With `_DPI` it has 240 pixels, more than a patch."""
_DPI = 160
_GAP, _LEFT, _TOP, _BOTTOM = 0.08, 1.0, 0.5, 0.12
_FRAME_COLOUR = "0.2"
_LINE_HEIGHT, _LINE_LENGTH = 0.11, 30
"""Height in inches of a line below a picture, and its maximum length in letters."""


def draw_sheet(
    columns: Columns,
    row_titles: Sequence[str],
    caption: str,
    frames: Sequence[Sequence[str]] = (),
    widths: Mapping[str, float] = MappingProxyType({}),
    notes: Notes = MappingProxyType({}),
    key: ColourKey = MappingProxyType({}),
) -> Figure:
    """Draw a figure with one row per patch and one column per way of showing it.

    Columns may have different S; pixels are drawn as squares and never smoothed. `row_titles` are R
    labels (class names) on the left, and `caption` is a short text below. Each entry of `frames`
    names neighbouring columns whose pictures get a common frame in every row. `widths` has the
    width of a column's patches in µm, for a scale bar in its first picture. `notes` are written
    below the pictures, and `key` below the caption.
    """
    rows = len(row_titles)
    wrapped_notes = {
        title: [textwrap.wrap(t, _LINE_LENGTH) for t in texts] for title, texts in notes.items()
    }
    notes_height = _LINE_HEIGHT * max(
        [0, *(len(lines) for texts in wrapped_notes.values() for lines in texts)]
    )
    column_width, row_height = _PICTURE_SIDE + _GAP, _PICTURE_SIDE + _GAP + notes_height
    width = _LEFT + len(columns) * column_width
    lines = textwrap.wrap(caption, width=max(30, int(width * 13)))
    key_columns = max(1, int(width / (0.6 + 0.075 * max(map(len, key), default=0))))
    bottom = _BOTTOM + 0.2 * (len(lines) + math.ceil(len(key) / key_columns))
    height = _TOP + rows * row_height + bottom
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))  # one for all, in inches: one per picture takes seconds
    lefts = {title: _LEFT + number * column_width for number, title in enumerate(columns)}
    bottoms = [height - _TOP - row * row_height - _PICTURE_SIDE for row in range(rows)]
    for title, images in columns.items():
        for row, row_bottom in enumerate(bottoms):
            if isinstance(images, Bars):
                images.draw(axes, row, lefts[title], row_bottom, _PICTURE_SIDE)
                continue
            place = (
                lefts[title],
                lefts[title] + _PICTURE_SIDE,
                row_bottom,
                row_bottom + _PICTURE_SIDE,
            )
            axes.imshow(_pixels(images[row]), interpolation="nearest", extent=place)

        axes.text(
            lefts[title] + _PICTURE_SIDE / 2,
            height - _TOP + _GAP,
            "\n".join(textwrap.wrap(re.sub(r",\s*", ", ", title), 23)),
            ha="center",
            va="bottom",
            fontsize=8,
        )
    for title, width_um in widths.items():
        length = round_length(width_um / 2)
        left, right = lefts[title] + 0.06, lefts[title] + 0.06 + _PICTURE_SIDE * length / width_um
        for width_pt, colour in ((3.5, "white"), (1.8, "black")):
            axes.plot([left, right], [bottoms[0] + 0.07] * 2, colour, linewidth=width_pt)
        words = axes.text(left, bottoms[0] + 0.11, f"{length:g} µm", fontsize=6)
        words.set_path_effects([withStroke(linewidth=1.5, foreground="white")])
    for title, texts in wrapped_notes.items():
        for row_bottom, wrapped in zip(bottoms, texts, strict=True):
            axes.text(lefts[title], row_bottom - 0.02, "\n".join(wrapped), va="top", fontsize=6)
    for framed in frames:
        for row_bottom in bottoms:
            corner = (lefts[framed[0]] - _GAP / 2, row_bottom - notes_height - _GAP / 2)
            axes.add_patch(
                Rectangle(
                    corner,
                    len(framed) * column_width,
                    row_height,
                    fill=False,
                    edgecolor=_FRAME_COLOUR,
                )
            )
    for row_bottom, label in zip(bottoms, row_titles, strict=True):
        text, size = _row_title(label)
        axes.text(
            _LEFT - 0.1,
            row_bottom + _PICTURE_SIDE / 2,
            text,
            ha="right",
            va="center",
            fontsize=size,
        )
    axes.text(0.1, bottom, "\n".join(lines), ha="left", va="top", fontsize=8)
    if key:
        axes.legend(
            handles=[Patch(color=tuple(np.array(c) / 255), label=name) for name, c in key.items()],
            loc="upper left",
            bbox_to_anchor=(0.1, bottom - 0.14 * len(lines)),
            bbox_transform=axes.transData,
            ncols=key_columns,
            fontsize=8,
            frameon=False,
            borderaxespad=0,
            borderpad=0,
        )
    axes.set(xlim=(0, width), ylim=(0, height), aspect="auto")
    axes.set_axis_off()
    return figure


def _row_title(label: str) -> tuple[str, float]:
    """A label wrapped at words, and the font size in points at which it fits next to a picture."""
    parted = label.replace("_", "_ ")  # folder names have no spaces
    longest = max(map(len, parted.split()), default=0)
    lines = textwrap.wrap(parted, min(max(12, longest), 18))
    lines = [line.replace("_ ", "_") for line in lines]
    paths = [TextPath((0, 0), line.replace("$", "S"), 9) for line in lines]
    width = max((path.get_extents().width for path in paths), default=0) / 72
    height = len(lines) * 9 * 1.2 / 72
    return "\n".join(lines), 9 / max(1, width / (_LEFT - 0.2), height / _PICTURE_SIDE)


def _pixels(image: Tensor) -> npt.NDArray[np.uint8]:
    """(3, S, S) in [0, 1] -> (S, S, 3)."""
    whole = (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    pixels: npt.NDArray[np.uint8] = whole.permute(1, 2, 0).cpu().numpy()
    return pixels


def round_length(longest: float) -> float:
    """The largest of 1, 2, 5, 10 ... that is at most `longest`.

    >>> round_length(112), round_length(0.3)
    (100.0, 0.2)
    """
    power = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest)


def view_columns(
    stored: Mapping[str, Tensor],
    modalities: Mapping[str, Modality],
    views: Views,
    size: int,
    draws: int,
    generator: torch.Generator,
    bars: Mapping[str, Mapping[str, int]] = MappingProxyType({}),
) -> tuple[dict[str, Tensor | Bars], dict[str, list[str]]]:
    """Columns of patches and views, and the names of the augmentations drawn for each view.

    The columns are the stored patch, its rendering in each modality, then `draws` times one view of
    each modality, drawn as in a training step.

    `stored` maps an array's name to images (R, H, H, C) or vectors (R, length); `modalities` maps
    a title, such as `downsample:7`, to the modality. `size` is the side of the network's input.
    `bars` maps the title of a vector to the names and places of the values that are shown.
    """
    columns: dict[str, Tensor | Bars] = {}
    notes: dict[str, list[str]] = {}
    for name in dict.fromkeys(modality.array for modality in modalities.values()):
        title = stored_title(name, stored)
        if stored[name].ndim == 2:  # a vector looks the same stored and rendered
            continue
        reader = next(modality for modality in modalities.values() if modality.array == name)
        display = reader if not (reader.colour or reader.labels) else Full(name)
        display = Nuclei("colour") if name == NUCLEI_ARRAY else display
        columns[title] = display.to_rgb(display.render(stored[name], stored[name].shape[1]))
    rendered = {
        title: modality.render(stored[modality.array], size)
        for title, modality in modalities.items()
    }
    by_modality = {title: {title: images} for title, images in rendered.items()}
    augment = {title: augmentation(views, modality) for title, modality in modalities.items()}
    for draw in range(1, draws + 1):
        for title, images in rendered.items():
            with recording(len(images)) as words:
                by_modality[title][view_title(title, draw)] = augment[title](images, generator)
            notes[view_title(title, draw)] = [", ".join(drawn) for drawn in words]
    pictures: dict[str, Tensor | Bars] = {}
    for title, views_of_modality in by_modality.items():
        if title in bars:
            pictures |= bars_on_common_scale(views_of_modality, bars[title])
        else:
            to_rgb = modalities[title].to_rgb
            pictures |= {name: to_rgb(images) for name, images in views_of_modality.items()}
    order = [*modalities, *notes]
    return columns | {name: pictures[name] for name in order}, notes


def stored_title(name: str, stored: Collection[str]) -> str:
    """The title of the column of a stored array."""
    return "stored" if len(stored) == 1 else f"stored {name}"


def view_title(title: str, draw: int) -> str:
    """The title of a modality's column of views, counted from 1."""
    return f"{title} view {draw}"
