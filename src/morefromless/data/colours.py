"""Colours of nucleus types and of classes."""

import colorsys
from collections.abc import Sequence
from typing import TypeVar

Name = TypeVar("Name", str, str | None)
RGB = tuple[int, int, int]

COLOURS = (
    (0, 0, 0),
    (230, 75, 53),
    (77, 187, 213),
    (0, 160, 135),
    (243, 155, 127),
    (145, 209, 194),
    (132, 145, 180),
    (126, 97, 72),
    (220, 200, 80),
    (176, 156, 214),
    (255, 255, 255),
)
"""Colours of the background and the first types; further types repeat those of the first types."""


def type_colours(count: int) -> list[RGB]:
    """RGB of the first `count` types, background first.

    >>> type_colours(12)[1] == type_colours(12)[11]
    True
    """
    return [COLOURS[0], *(COLOURS[1 + k % (len(COLOURS) - 1)] for k in range(count - 1))]


def class_colours(names: Sequence[Name]) -> dict[Name, RGB]:
    """A colour per name, with distant hues; it does not depend on the names that follow.

    >>> class_colours(["stroma", "tumour"])
    {'stroma': (230, 92, 92), 'tumour': (34, 91, 230)}
    """
    golden = (5**0.5 - 1) / 2
    colours = {}
    for k, name in enumerate(names):
        r, g, b = colorsys.hsv_to_rgb(k * golden % 1, 0.85 if k % 2 else 0.6, 0.9)
        colours[name] = round(255 * r), round(255 * g), round(255 * b)
    return colours
